"""Recipes are read strictly, and written so that they read back the same."""

from pathlib import Path

import pytest

from codling.errors import UserError
from codling.recipes.registry import RECIPES, load_recipe, recipe_toml


@pytest.mark.parametrize("name", RECIPES)
def test_toml_reads_back_to_the_same_recipe(name: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(recipe_toml(load_recipe(name)), encoding="utf-8")
    assert load_recipe(str(path)) == load_recipe(name)


def test_an_assignment_changes_one_value_only() -> None:
    changed = load_recipe("tiny", ["device_recover.rank=8", "name=mine"])
    assert (changed.device_recover.rank, changed.name) == (8, "mine")
    assert recipe_toml(changed).replace("rank = 8", "rank = 4").replace('"mine"', '"tiny"') == recipe_toml(
        load_recipe("tiny")
    )


@pytest.mark.parametrize(
    ("name", "assignments", "message"),
    [
        ("quickstrat", [], "unknown recipe 'quickstrat' (known: quickstart"),
        ("absent.toml", [], "absent.toml: no such recipe file"),
        ("tiny", ["device_recover.rnak=8"], "unknown key 'device_recover.rnak' (known here: "),
        ("tiny", ["device_recover.rank=eight"], "key 'device_recover.rank': input should be a valid integer"),
        ("tiny", ["device_recover.rank=2.5"], "key 'device_recover.rank': input should be a valid integer"),
        ("tiny", ["device_recover.rank"], "--set device_recover.rank: write it as key=value"),
        ("tiny", ["seed.low=1"], "'seed' is a value"),
        ("tiny", ["server_model.num_kv_heads=3"], "must be a multiple"),
        ("tiny", ["server_core.loop.optimizer.schedule.decay=linear"], "decay"),
        ("tiny", ["server_core.mixture.share_by_kind.stories=-1.0"], "share of 'stories'"),
        ("tiny", ["questions.short_questions.num_documents=0"], "num_documents is 0, it must be 1 or more"),
        ("tiny", ["server_core.answer_weight=0.0"], "answer_weight is 0.0, it must be positive"),
        ("tiny", ["device_sft.mixture.share_by_kind.poems=1.0"], "a mixture names 'poems'; the recipe has formats"),
        ("tiny", ["alignment.prompts.seed=0"], "prompts.seed is that of the conversations"),
        ("tiny", ["alignment.prompts.num_train_by_skill.poems=9"], "'poems' is no skill of the conversations"),
    ],
)
def test_bad_recipes_are_named_in_one_line(name: str, assignments: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        load_recipe(name, assignments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("name = ", encoding="utf-8")
    with pytest.raises(UserError, match=r"broken\.toml: not TOML"):
        load_recipe(str(path))
