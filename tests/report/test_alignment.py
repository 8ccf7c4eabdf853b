from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codling.artifact.stage import Artifact
from codling.report.alignment import SideAlignment, alignment
from tests.report.sample_rounds import add_rounds


def sides(inputs: dict[str, Artifact]) -> tuple[SideAlignment, SideAlignment]:
    server, device = alignment(inputs)
    return server, device


def test_every_round_of_each_side_is_told(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    add_rounds(inputs, tmp_path, 2, 1)
    server, device = sides(inputs)
    assert (server.num_rounds, device.num_rounds) == (2, 1)
    for parts in (server.elections, server.wins, server.labels, server.reward_models, server.online):
        assert [part.round for part in parts] == [1, 2]
    assert (server.has_guests, device.has_guests) == (False, True)
    assert server.tree is not None
    assert server.kl_figure is not None


def test_wins_are_counted_by_skill_and_member(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    add_rounds(inputs, tmp_path, 2, 0)
    first, second = sides(inputs)[0].wins
    assert first.members == ("SFT",)
    assert second.members == ("MDLOO, round 1", "RS, round 1", "DPO, round 1")
    assert second.by_skill == {"Arithmetic in worked steps": (30, 0, 10), "Short texts in a given form": (0, 0, 35)}
    assert (second.num_without_good_answer, second.num_guarded_out, second.num_demonstrations) == (25, 2, 73)


def test_labels_are_in_the_order_of_the_levels_with_what_was_set_aside(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    add_rounds(inputs, tmp_path, 1, 0)
    (labels,) = sides(inputs)[0].labels
    assert labels.num_by_level == (12, 9, 6, 3)
    assert labels.num_set_aside == {"neither answer is better": 9, "the prompt has no check": 1}


@pytest.mark.parametrize(
    ("before", "after", "verdict"), [(0.5, 0.9, "better"), (0.9, 0.5, "worse"), (0.7, 0.75, "same")]
)
def test_a_reward_model_is_better_where_the_intervals_are_apart(
    inputs: dict[str, Artifact], tmp_path: Path, before: float, after: float, verdict: str
) -> None:
    add_rounds(inputs, tmp_path, 1, 0)
    metrics = inputs["server_round1_rewards"].manifest.metrics
    metrics["before"]["accuracy"], metrics["after"]["accuracy"] = before, after
    (figures,) = sides(inputs)[0].reward_models
    assert figures.verdict == verdict
    assert figures.after is not None
    assert figures.after.interval.low < after < figures.after.interval.high
    assert figures.by_level[:2] == pytest.approx((0.95, 0.85))
    assert figures.by_level[2:] == (None, None)
    assert figures.by_grading == {"instruction following": 0.7, "verbosity": 0.66}


@pytest.mark.parametrize("missing", [{"before": None, "after": None}, {"before": None}])
def test_what_was_not_measured_for_want_of_pairs_is_none(
    inputs: dict[str, Artifact], tmp_path: Path, missing: dict[str, Any]
) -> None:
    add_rounds(inputs, tmp_path, 1, 0)
    inputs["server_round1_rewards"].manifest.metrics.update(missing)
    (figures,) = sides(inputs)[0].reward_models
    assert figures.verdict is None
    assert figures.before is None
    assert (figures.after is None) == ("after" in missing)


def test_rewards_of_rounds_do_not_compare_where_a_reward_model_has_a_part(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    add_rounds(inputs, tmp_path, 1, 1)
    assert [side.rewards_by_model for side in sides(inputs)] == [False, False]
    path, manifest = inputs["server_round1_committee"]
    weights = {"rewards": {"check": 1.0, "reward_model": 0.2}}
    inputs["server_round1_committee"] = Artifact(path, replace(manifest, config=weights))
    assert [side.rewards_by_model for side in sides(inputs)] == [True, False]


@pytest.mark.parametrize(("num_server", "num_device"), [(0, 0), (1, 0), (0, 1)])
def test_a_side_without_rounds_has_nothing_but_its_name(
    inputs: dict[str, Artifact], tmp_path: Path, num_server: int, num_device: int
) -> None:
    add_rounds(inputs, tmp_path, num_server, num_device)
    for side, name, count in zip(sides(inputs), ("server", "device"), (num_server, num_device), strict=True):
        nothing = SideAlignment(name, 0, None, False, (), (), (), (), (), False, None, None)
        assert (side == nothing) == (count == 0)


def test_parts_that_a_recipe_leaves_out_are_left_out(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    add_rounds(inputs, tmp_path, 1, 0)
    for part in ("labels", "rewards", "best", "mdloo"):
        del inputs[f"server_round1_{part}"]
    server = sides(inputs)[0]
    assert (server.wins, server.labels, server.reward_models, server.online) == ((), (), (), ())
    assert len(server.elections) == 1
