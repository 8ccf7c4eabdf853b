"""Online training (MDLOO) through the rounds: what its answers earned, and how far it went from where it began."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from codling.artifact.stage import Inputs
from codling.report.formats import percent, reward
from codling.report.rounds import num_rounds, stage_name
from codling.report.svg import COLORS, Drawing, drawing
from codling.train.metrics import read_metrics

MARKERS = ("o", "s", "^", "D")
"""Of the rounds; the fifth begins anew."""
FAINTEST = 0.2
"""Opacity of the first iteration; the last one is opaque."""
EDGE_FIGURES = {
    "reward": reward,
    "kl_to_reference_sampled": reward,
    "answer_tokens": "{:.1f}".format,
    "cut_off": percent,
    "entropy": "{:.2f}".format,
}
"""What is shown of the begin and of the end of a round, and how it is written."""


class OnlineRound(NamedTuple):
    """The online training of one round, by iterations."""

    round: int
    num_iterations: int
    rewards: tuple[float, ...]
    kls: tuple[float, ...]
    """Nats a whole answer from the model that the round's training began with, on the policy's own answers."""
    edges: dict[str, str]
    """Figure -> first iterations and last, in words."""
    max_disagreement: float | None
    """Nats in one token, between sampler and trainer; None where no records are left."""


def online_rounds(inputs: Inputs, side: str) -> Iterator[OnlineRound]:
    """Every round of a side that had online training."""
    for number in range(1, num_rounds(inputs, side) + 1):
        name = stage_name(side, number, "mdloo")
        if name not in inputs:
            continue
        metrics = inputs[name].manifest.metrics
        records = [record for record in read_metrics(inputs[name].path) if "reward" in record]
        yield OnlineRound(
            round=number,
            num_iterations=metrics["num_iterations"],
            rewards=tuple(float(record["reward"]) for record in records),
            kls=tuple(float(record["kl_to_reference_sampled"]) for record in records),
            edges=dict(_edges(metrics.get("first", {}), metrics.get("last", {}))),
            max_disagreement=max((float(record["disagreement"]) for record in records), default=None),
        )


def _edges(first: Mapping[str, Any], last: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, write in EDGE_FIGURES.items():
        is_known = name in first and name in last
        yield name, f"{write(first[name])} → {write(last[name])}" if is_known else "–"


def reward_by_kl_figure(rounds: Sequence[OnlineRound], side: str) -> Markup | None:
    """Reward over KL, a line a round, from the first iteration, faint, to the last; None without records."""
    if not any(part.rewards for part in rounds):
        return None
    with drawing(
        f"reward-kl-{side}", f"Reward against KL in online training of the {side} model: {_told(rounds)}"
    ) as d:
        for part in rounds:
            _line(d, part, list(part.kls), side)
        d.axes.set_xlabel("KL to the round's start, nats an answer")
        _finish(d, rounds)
    return d.svg


def reward_by_iteration_figure(rounds: Sequence[OnlineRound], side: str) -> Markup | None:
    """Reward by iteration, a line a round; None without records."""
    if not any(part.rewards for part in rounds):
        return None
    with drawing(f"reward-{side}", f"Reward by iteration in online training of the {side} model: {_told(rounds)}") as d:
        for part in rounds:
            _line(d, part, [float(number) for number in range(1, len(part.rewards) + 1)], side)
        d.axes.set_xlabel("iteration")
        _finish(d, rounds)
    return d.svg


def _line(draw: Drawing, part: OnlineRound, places: Sequence[float], side: str) -> None:
    from matplotlib.colors import to_rgba

    count = len(places)
    color, marker = COLORS[side], MARKERS[(part.round - 1) % len(MARKERS)]
    shades = [to_rgba(color, alpha) for alpha in np.linspace(FAINTEST, 1.0, count)]
    draw.axes.plot(places, part.rewards, color=COLORS["control"], linewidth=0.8, zorder=1)
    draw.axes.scatter(places, part.rewards, s=17, marker=marker, color=shades, linewidths=0, zorder=2, clip_on=False)
    draw.axes.plot([], [], marker, color=color, markersize=4.5, label=f"round {part.round}")  # for the legend alone


def _finish(draw: Drawing, rounds: Sequence[OnlineRound]) -> None:
    draw.axes.set_ylabel("mean reward of sampled answers")
    if len(rounds) > 1:
        draw.axes.legend(frameon=False, loc="lower right")


def _told(rounds: Sequence[OnlineRound]) -> str:
    return "; ".join(
        f"round {part.round} {reward(part.rewards[0])} to {reward(part.rewards[-1])} at {reward(part.kls[-1])} nats"
        for part in rounds
        if part.rewards
    )
