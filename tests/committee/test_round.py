"""The rounds of both sides as a graph: every stage after its inputs, labels in the order of the rounds."""

from dataclasses import replace

import pytest

from codling.artifact.stage import Stage
from codling.committee.elect import ElectionConfig
from codling.committee.reward_stage import LABELS_ROLE
from codling.committee.round import (
    AlignmentConfig,
    RoundConfig,
    TunedStart,
    alignment_stages,
    committee_stage,
    finished_stage,
)
from codling.recipes.tiny import tiny

RECIPE = tiny()
ONE = RECIPE.alignment.server_rounds[0]
GIVEN = {"conversations", "tokenizer", "tokens", "server_sft", "device_sft"}
PARTS = ("pairs", "labels", "rewards", "best", "rs", "dpo", "ipo", "mdloo", "committee")


def align(num_server: int, num_device: int, one: RoundConfig = ONE) -> AlignmentConfig:
    return AlignmentConfig(
        prompts=RECIPE.alignment.prompts, server_rounds=(one,) * num_server, device_rounds=(one,) * num_device
    )


def graph(num_server: int, num_device: int, one: RoundConfig = ONE) -> dict[str, Stage]:
    return {stage.name: stage for stage in alignment_stages(align(num_server, num_device, one), RECIPE.conversations)}


@pytest.mark.parametrize(("num_server", "num_device"), [(2, 1), (1, 0), (0, 1), (1, 3)])
def test_every_stage_comes_after_its_inputs_and_every_round_is_whole(num_server: int, num_device: int) -> None:
    stages, seen = graph(num_server, num_device), set(GIVEN)
    for name, stage in stages.items():
        assert set(stage.inputs.values()) <= seen, name
        seen.add(name)
    rounds = [("server", num_server), ("device", num_device)]
    expected = [
        f"{side}_round{number + 1}_{part}" for side, count in rounds for number in range(count) for part in PARTS
    ]
    assert [name for name in stages if name.rpartition("_")[2] in PARTS and "round0" not in name] == expected
    assert len(alignment_stages(align(num_server, num_device), RECIPE.conversations)) == len(stages)


def test_without_rounds_there_is_nothing_and_the_fine_tuned_models_are_shipped() -> None:
    assert graph(0, 0) == {}
    assert [finished_stage(align(0, 0), side) for side in ("server", "device")] == ["server_sft", "device_sft"]
    assert [finished_stage(align(1, 0), side) for side in ("server", "device")] == ["server_aligned", "device_sft"]
    assert not any(name.startswith("device") for name in graph(2, 0))


def test_a_device_learns_from_the_servers_last_committee_or_its_fine_tuned_model() -> None:
    for num_server in (0, 2):
        stages = graph(num_server, 1)
        founded = stages[committee_stage("device", 0)]
        assert founded.inputs == {"sft": "device_sft", "teachers": committee_stage("server", num_server)}
    assert "server_aligned" not in graph(0, 1)
    assert graph(0, 1)[committee_stage("server", 0)].inputs == {"sft": "server_sft"}


def test_labels_of_all_rounds_sort_in_the_order_of_the_rounds() -> None:
    stages = graph(11, 2)
    expected = [f"server_round{number}_labels" for number in range(1, 12)] + ["device_round1_labels"]
    for name in ("device_round2_rewards", "device_round2_dpo", "device_round2_ipo"):
        inputs = stages[name].inputs
        roles = sorted(role for role in inputs if role.startswith(LABELS_ROLE))
        assert [inputs[role] for role in roles] == [*expected, "device_round2_labels"]
    first = stages["server_round1_dpo"].inputs
    assert [source for role, source in first.items() if role.startswith(LABELS_ROLE)] == ["server_round1_labels"]


@pytest.mark.parametrize(
    ("tuned_start", "start"), [(TunedStart.RS, "server_round1_rs"), (TunedStart.COMMITTEE, "server_round0_committee")]
)
def test_tuning_starts_where_the_recipe_says(tuned_start: TunedStart, start: str) -> None:
    stages = graph(1, 0, replace(ONE, tuned_start=tuned_start))
    assert {stages[f"server_round1_{method}"].inputs["start"] for method in ("dpo", "ipo", "mdloo")} == {start}
    assert stages["server_round1_rs"].inputs["start"] == "server_round0_committee"


def test_a_method_that_is_left_out_trains_nothing_and_stands_for_nothing() -> None:
    stages = graph(1, 0, replace(ONE, dpo=None, mdloo=None, max_members=2))
    assert not {"server_round1_dpo", "server_round1_mdloo"} & set(stages)
    election = stages["server_round1_committee"]
    assert {role for role, source in election.inputs.items() if source.startswith("server_round1")} == {
        "reward_model",
        "rs",
        "ipo",
    }
    assert isinstance(election.config, ElectionConfig)
    assert (election.config.round, election.config.side, election.config.max_members) == (1, "server", 2)


def test_a_round_that_elects_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="max_members"):
        graph(1, 0, replace(ONE, max_members=0))
