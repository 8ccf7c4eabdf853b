"""Recipes by name, from a file, with single values overridden; and back to TOML."""

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import tomli_w

from codling.config import from_dict, override, to_dict
from codling.errors import UserError
from codling.recipes.mini import mini
from codling.recipes.quickstart import quickstart
from codling.recipes.recipe import Recipe
from codling.recipes.tiny import tiny

RECIPES: dict[str, Callable[[], Recipe]] = {"quickstart": quickstart, "mini": mini, "tiny": tiny}


def load_recipe(name_or_path: str, assignments: Sequence[str] = ()) -> Recipe:
    """A recipe by name or from a .toml file, with `a.b=v` assignments applied.

    Errors: `UserError` for an unknown name, a file that is missing or not TOML, an unknown key or a wrong type.
    """
    if name_or_path in RECIPES:
        values, source = to_dict(RECIPES[name_or_path]()), name_or_path
    elif name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        if not path.is_file():
            raise UserError(f"{path}: no such recipe file")
        try:
            values, source = tomllib.loads(path.read_text(encoding="utf-8")), str(path)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not TOML ({error})") from None
    else:
        raise UserError(f"unknown recipe '{name_or_path}' (known: {', '.join(RECIPES)}; or a file that ends in .toml)")
    return from_dict(Recipe, override(values, assignments), source=source)


def recipe_toml(recipe: Recipe) -> str:
    """The recipe as TOML that `load_recipe` reads back to the same recipe."""
    return tomli_w.dumps(to_dict(recipe))
