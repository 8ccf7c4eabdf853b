import pytest

from codling.committee.round import committee_stage
from codling.report.rounds import SIDES, RoundStage, aligned_side, num_rounds, round_stage, stage_name


@pytest.mark.parametrize(
    "stage", [RoundStage("server", 1, "pairs"), RoundStage("device", 12, "mdloo"), RoundStage("server", 0, "committee")]
)
def test_a_name_is_taken_apart_as_it_was_put_together(stage: RoundStage) -> None:
    assert round_stage(stage_name(*stage)) == stage


def test_the_name_of_a_committee_is_the_recipes() -> None:
    for side in SIDES:
        assert stage_name(side, 2, "committee") == committee_stage(side, 2)


@pytest.mark.parametrize("name", ["server_sft", "task_prompts", "device_rounds", "round1_pairs", "server_roundx_pairs"])
def test_other_stages_are_part_of_no_round(name: str) -> None:
    assert round_stage(name) is None


def test_rounds_are_counted_by_the_committees_that_they_ended_in() -> None:
    names = ["server_sft", "server_round0_committee", "server_round1_committee", "server_round2_pairs"]
    assert num_rounds(names, "server") == 1
    assert num_rounds(names, "device") == 0


@pytest.mark.parametrize(
    ("name", "side"),
    [("server_aligned", "server"), ("device_round1_rs", "device"), ("server_sft", None), ("task_prompts", None)],
)
def test_a_stage_of_alignment_aligns_a_side(name: str, side: str | None) -> None:
    assert aligned_side(name) == side
