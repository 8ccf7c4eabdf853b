import pytest

from codling.errors import UserError
from codling.recipes.mini import mini
from codling.recipes.workload import load_workload, resize


def test_a_recipe_stands_for_its_core_stages() -> None:
    server, device = load_workload("mini"), load_workload("mini:device")
    recipe = mini()
    assert server.model == recipe.server_model
    assert server.num_tokens == recipe.server_core.num_tokens
    assert device.model == recipe.device_model
    assert device.batch_size_rows == recipe.device_distill.text.loop.batch_size_rows


def test_values_of_a_recipe_can_be_set() -> None:
    assert load_workload("mini", ["server_core.loop.batch_size_rows=64"]).batch_size_rows == 64


@pytest.mark.parametrize(
    ("name", "assignments", "problem"),
    [
        ("server_80b", [], "unknown size or recipe 'server_80b' \\(known: sizes .*server_70b; recipes quickstart"),
        ("mini:phone", [], "a recipe has a server and a device; write mini:device"),
        ("device_3b", ["a=1"], "'device_3b' is a size, it has no values to set"),
        ("missing.toml", [], "missing.toml: no such recipe file"),
    ],
)
def test_what_is_neither_is_named(name: str, assignments: list[str], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        load_workload(name, assignments)


def test_batches_can_be_resized() -> None:
    longer = resize(load_workload("device_3b"), 1024, 32_768)
    assert longer.tokens_per_step == 1024 * 32_768
    assert longer.model.context_length_tokens == 32_768
    assert resize(longer, None, None) == longer
