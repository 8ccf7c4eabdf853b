"""What `codling plan` plans for, by name: a stage of a recipe, or a named size on the report's core stage."""

from collections.abc import Sequence
from dataclasses import replace

from codling.errors import UserError
from codling.model.config import SIZES
from codling.recipes.registry import RECIPES, load_recipe
from codling.scale.workload import Workload, workload_of_size

SIDES = ("server", "device")


def load_workload(name: str, assignments: Sequence[str] = ()) -> Workload:
    """A size, or a recipe's core stage: of its server, or with `RECIPE:device` of its device model.

    Errors: `UserError` that lists what is known.
    """
    if name in SIZES:
        if assignments:
            raise UserError(f"'{name}' is a size, it has no values to set; --set is for recipes")
        return workload_of_size(name)
    recipe_name, colon, side = name.partition(":")
    if recipe_name not in RECIPES and not recipe_name.endswith(".toml"):
        known = f"sizes {', '.join(SIZES)}; recipes {', '.join(RECIPES)}; or a file that ends in .toml"
        raise UserError(f"unknown size or recipe '{name}' (known: {known})")
    if colon and side not in SIDES:
        raise UserError(f"'{name}': a recipe has a {' and a '.join(SIDES)}; write {recipe_name}:device")
    recipe = load_recipe(recipe_name, assignments)
    is_device = side == "device"
    stage = recipe.device_distill.text if is_device else recipe.server_core
    model = recipe.device_model if is_device else recipe.server_model
    rows, length = stage.loop.batch_size_rows, stage.sequence_length_tokens
    return Workload(f"{recipe.name}:{SIDES[is_device]}", model, rows, length, stage.num_tokens)


def resize(workload: Workload, batch_size_rows: int | None, sequence_length_tokens: int | None) -> Workload:
    """The same stage with other batches. A longer sequence than the model's context is what lengthening it means."""
    rows = workload.batch_size_rows if batch_size_rows is None else batch_size_rows
    length = workload.sequence_length_tokens if sequence_length_tokens is None else sequence_length_tokens
    model = replace(workload.model, context_length_tokens=max(length, workload.model.context_length_tokens))
    return workload._replace(model=model, batch_size_rows=rows, sequence_length_tokens=length)
