import pytest

from codling.committee.committee import Method
from codling.recipes.recipe import stages
from codling.recipes.tiny import tiny
from codling.report.titles import METHODS, full_title, lane, title


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("server_core", ("server", "Core pre-training", "Core pre-training (server)")),
        ("device_prune", ("device", "Pruning", "Pruning (device)")),
        ("device", ("device", "Device bundle", "Device bundle")),
        ("device_compress", ("device", "Palettization", "Palettization (device)")),
        ("device_adapt_short_answers", ("device", "Adapter: short answers", "Adapter: short answers (device)")),
        ("tokenizer", ("both", "Tokenizer", "Tokenizer")),
        ("task_prompts", ("both", "Prompts of the rounds", "Prompts of the rounds")),
        ("device_aligned", ("device", "Aligned model", "Aligned model (device)")),
        ("server_round1_pairs", ("server", "Round 1: pairs", "Round 1: pairs (server)")),
        ("server_round2_labels", ("server", "Round 2: labels", "Round 2: labels (server)")),
        ("device_round1_rewards", ("device", "Round 1: reward model", "Round 1: reward model (device)")),
        ("device_round1_best", ("device", "Round 1: best answers", "Round 1: best answers (device)")),
        ("device_round1_rs", ("device", "Round 1: rejection sampling", "Round 1: rejection sampling (device)")),
        ("device_round1_mdloo", ("device", "Round 1: MDLOO", "Round 1: MDLOO (device)")),
        ("device_round0_committee", ("device", "Round 0: committee", "Round 0: committee (device)")),
    ],
)
def test_a_stage_has_a_model_and_a_name_in_words(stage: str, expected: tuple[str, str, str]) -> None:
    assert (lane(stage), title(stage), full_title(stage)) == expected


def test_no_two_stages_of_a_recipe_have_the_same_full_title() -> None:
    titles = [full_title(stage.name) for stage in stages(tiny())]
    assert len(set(titles)) == len(titles)


def test_every_method_of_the_committee_has_a_name() -> None:
    assert set(METHODS) == set(Method)
