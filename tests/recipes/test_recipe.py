"""The graph of stages is a graph: every input comes before, every stage has its own name."""

from dataclasses import replace

import pytest

from codling.recipes.recipe import stages
from codling.recipes.tiny import tiny


def test_every_input_is_an_earlier_stage() -> None:
    seen: set[str] = set()
    for stage in stages(tiny()):
        assert set(stage.inputs.values()) <= seen, stage.name
        assert stage.name not in seen
        seen.add(stage.name)


def test_the_device_shape_is_its_parents_with_fewer_units() -> None:
    recipe = tiny()
    assert recipe.device_model.ffn_dim == recipe.device_prune.ffn_dim < recipe.device_parent_model.ffn_dim
    assert recipe.device_model.model_dim == recipe.device_parent_model.model_dim


def test_distilled_and_scratch_models_see_the_same_tokens() -> None:
    by_name = {stage.name: stage for stage in stages(tiny())}
    scratch, distilled = by_name["device_from_scratch"].config, by_name["device_distill"].config
    assert scratch.text == distilled.text  # type: ignore[attr-defined]


def test_questions_with_the_name_of_a_kind_or_skill_are_refused() -> None:
    recipe = tiny()
    for name in ("stories", "tool_calls"):
        with pytest.raises(ValueError, match=f"'{name}' names questions and something else too"):
            replace(recipe, questions={name: recipe.questions["short_questions"]})
