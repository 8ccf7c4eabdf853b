import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
from markupsafe import Markup

from codling.artifact.stage import Artifact
from codling.report.online_curves import (
    OnlineRound,
    online_rounds,
    reward_by_iteration_figure,
    reward_by_kl_figure,
)
from codling.report.svg import COLORS
from tests.report.sample_rounds import NUM_ITERATIONS, add_rounds


@pytest.fixture
def rounds(inputs: dict[str, Artifact], tmp_path: Path) -> list[OnlineRound]:
    add_rounds(inputs, tmp_path, 2, 0)
    return list(online_rounds(inputs, "server"))


def texts(svg: Markup | None) -> list[str]:
    assert svg is not None
    return [text.strip() for text in ET.fromstring(str(svg)).itertext() if text.strip()]


def test_every_iteration_is_read(rounds: list[OnlineRound]) -> None:
    assert [part.round for part in rounds] == [1, 2]
    assert rounds[0].rewards == pytest.approx([0.4 + 0.02 * step for step in range(1, NUM_ITERATIONS + 1)])
    assert rounds[1].kls[0] == 0.0
    assert rounds[0].edges["reward"] == "0.420 → 0.560"
    assert rounds[0].edges["cut_off"] == "1.0% → 1.0%"
    assert rounds[0].max_disagreement == pytest.approx(8e-6)


@pytest.mark.parametrize("figure", [reward_by_kl_figure, reward_by_iteration_figure])
def test_a_figure_has_a_point_for_each_iteration_from_faint_to_full(
    rounds: list[OnlineRound], figure: Callable[[list[OnlineRound], str], Markup | None]
) -> None:
    svg = figure(rounds, "server")
    shown = texts(svg)
    assert {"round 1", "round 2", "mean reward of sampled answers"} <= set(shown)
    assert "round 1 0.420 to 0.560 at 0.926 nats; round 2 0.520 to 0.660 at 0.926 nats" in shown[0]
    assert svg is not None
    opacities = [float(value) for value in re.findall(r"fill-opacity: ([0-9.]+)", svg)]
    # The last point of each round is opaque, and says so by saying nothing.
    assert opacities == sorted(opacities[: NUM_ITERATIONS - 1]) * 2
    assert opacities[0] == pytest.approx(0.2)
    assert "var(--server)" in svg
    assert not any(color in svg for color in COLORS.values())


def test_rounds_without_records_give_no_figure(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    assert reward_by_kl_figure([], "server") is None
    add_rounds(inputs, tmp_path, 1, 0)
    (inputs["server_round1_mdloo"].path / "metrics.jsonl").unlink()
    inputs["server_round1_mdloo"].manifest.metrics["first"] = {}
    (part,) = online_rounds(inputs, "server")
    assert (part.rewards, part.max_disagreement, set(part.edges.values())) == ((), None, {"–"})
    assert reward_by_kl_figure([part], "server") is None
    assert reward_by_iteration_figure([part], "server") is None


def test_a_recipe_without_online_training_has_no_rounds_of_it(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    add_rounds(inputs, tmp_path, 1, 0)
    del inputs["server_round1_mdloo"]
    assert list(online_rounds(inputs, "server")) == []


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_any_number_of_iterations_can_be_drawn(rounds: list[OnlineRound], count: int) -> None:
    values = tuple(0.1 * number for number in range(count))
    assert reward_by_kl_figure([rounds[0]._replace(rewards=values, kls=values)], "server") is not None
