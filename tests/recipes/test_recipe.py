"""The graph of stages is a graph: every input comes before, every stage has its own name."""

from dataclasses import replace

import pytest

from codling.committee.committee import Method
from codling.committee.round import AlignmentConfig
from codling.data.mixture import MixtureWeights
from codling.posttrain.rejection_sampling import BEST_ANSWERS
from codling.recipes.recipe import Recipe, stages
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


def rounds(recipe: Recipe, num_server: int, num_device: int) -> Recipe:
    [one, *_] = recipe.alignment.server_rounds
    alignment = replace(recipe.alignment, server_rounds=(one,) * num_server, device_rounds=(one,) * num_device)
    return replace(recipe, alignment=alignment)


@pytest.mark.parametrize(
    ("num_server", "num_device", "shipped", "compared"),
    [
        (0, 0, ("server_sft", "device_sft"), set()),
        (1, 0, ("server_aligned", "device_sft"), {"server_sft"}),
        (0, 1, ("server_sft", "device_aligned"), {"device_sft", "device_aligned"}),
        (1, 1, ("server_aligned", "device_aligned"), {"server_sft", "device_sft", "device_aligned"}),
    ],
)
def test_what_alignment_made_is_shipped_and_compared_with_what_it_began_with(
    num_server: int, num_device: int, shipped: tuple[str, str], compared: set[str]
) -> None:
    by_name = {stage.name: stage for stage in stages(rounds(tiny(), num_server, num_device))}
    server, device = shipped
    assert by_name["server"].inputs["model"] == server
    assert by_name["device_compress"].inputs["model"] == by_name["device_recover"].inputs["teacher"] == device
    assert set(by_name["measure"].inputs) - {"server", "device", "tokens", "conversations"} == compared
    assert ("task_prompts" in by_name) == bool(num_server + num_device)


def test_prompts_are_drawn_from_the_recipes_own_skills() -> None:
    """A recipe whose conversations are changed draws its prompts from the changed ones."""
    recipe = tiny()
    conversations = replace(recipe.conversations, num_heldout=7)
    by_name = {stage.name: stage for stage in stages(replace(recipe, conversations=conversations))}
    assert by_name["task_prompts"].config.conversations == conversations  # type: ignore[attr-defined]


def test_a_feature_learns_a_skill_of_the_recipe() -> None:
    recipe = tiny()
    feature = recipe.device_features["intents"]
    strange = replace(feature, mixture=MixtureWeights(share_by_kind={"poems": 1.0}))
    with pytest.raises(ValueError, match="feature 'poet' learns 'poems', which is no skill of the recipe"):
        replace(recipe, device_features={"poet": strange})


def with_prompts(alignment: AlignmentConfig, **changes: object) -> AlignmentConfig:
    return replace(alignment, prompts=replace(alignment.prompts, **changes))  # type: ignore[arg-type]


def test_what_rounds_cannot_work_with_is_refused_with_the_recipe() -> None:
    recipe = tiny()
    [one, *_] = recipe.alignment.server_rounds
    with pytest.raises(ValueError, match="'poems' is no skill of the conversations"):
        replace(recipe, alignment=with_prompts(recipe.alignment, num_train_by_skill={"poems": 1}))
    with pytest.raises(ValueError, match="seed is that of the conversations"):
        replace(recipe, alignment=with_prompts(recipe.alignment, seed=recipe.conversations.seed))
    with pytest.raises(ValueError, match="max_members"):
        replace(recipe, alignment=replace(recipe.alignment, server_rounds=(replace(one, max_members=0),)))
    mixed = MixtureWeights(share_by_kind={BEST_ANSWERS: 1.0, "poems": 1.0})
    strange = replace(one, rejection_sampling=replace(one.rejection_sampling, mixture=mixed))
    with pytest.raises(ValueError, match="a round's mixture names 'poems'; there are best_answers, "):
        replace(recipe, alignment=replace(recipe.alignment, device_rounds=(strange,)))


def test_best_answers_are_what_rounds_call_theirs_alone() -> None:
    recipe = tiny()
    with pytest.raises(ValueError, match="'best_answers' is what rounds call the best answers"):
        replace(recipe, questions={BEST_ANSWERS: recipe.questions["short_questions"]})
    outside = replace(recipe.server_sft, mixture=MixtureWeights(share_by_kind={BEST_ANSWERS: 1.0}))
    with pytest.raises(ValueError, match="a mixture names 'best_answers'"):
        replace(recipe, server_sft=outside)


def test_tiny_trains_a_model_by_every_method_in_every_round() -> None:
    names = {stage.name for stage in stages(tiny())}
    for name in ("server_round1", "server_round2", "device_round1"):
        assert {f"{name}_{method}" for method in Method if method is not Method.SFT} <= names
