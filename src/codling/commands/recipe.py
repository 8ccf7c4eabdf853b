"""`codling recipe`: look at recipes."""

from typing import Annotated

from typer import Argument

from codling.commands.options import Assignments


def list_recipes() -> None:
    """Name the recipes."""
    from codling.recipes.registry import RECIPES

    for name, recipe in RECIPES.items():
        print(f"{name:12} {(recipe.__doc__ or '').partition(chr(10))[0]}")


def show(
    name: Annotated[str, Argument(metavar="NAME|FILE.toml")],
    assignments: Assignments = [],  # noqa: B006
) -> None:
    """Write out every value of a recipe, as TOML that `build` reads."""
    from codling.recipes.registry import load_recipe, recipe_toml

    print(recipe_toml(load_recipe(name, assignments)), end="")
