import pytest

from codling.recipes.recipe import stages
from codling.recipes.tiny import tiny
from codling.report.titles import full_title, lane, title


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("server_core", ("server", "Core pre-training", "Core pre-training (server)")),
        ("device_prune", ("device", "Pruning", "Pruning (device)")),
        ("device", ("device", "Device bundle", "Device bundle")),
        ("tokenizer", ("both", "Tokenizer", "Tokenizer")),
    ],
)
def test_a_stage_has_a_model_and_a_name_in_words(stage: str, expected: tuple[str, str, str]) -> None:
    assert (lane(stage), title(stage), full_title(stage)) == expected


def test_no_two_stages_of_a_recipe_have_the_same_full_title() -> None:
    titles = [full_title(stage.name) for stage in stages(tiny())]
    assert len(set(titles)) == len(titles)
