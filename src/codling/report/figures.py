"""The page's figures. Each gives None where the build has nothing to draw it from; the page then says so."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from codling.artifact.stage import Inputs
from codling.report.formats import NBSP, count, loss, nats, signed
from codling.report.stage_table import StageRow, num_tokens
from codling.report.start import PAIRS
from codling.report.svg import COLORS, Drawing, drawing
from codling.train.metrics import read_metrics

LANE_STAGES = {
    "server": ("server_core", "server_continued", "server_long_context", "server_sft"),
    "device": (
        "device_parent_core",
        "device_distill",
        "device_continued",
        "device_long_context",
        "device_sft",
        "device_recover",
    ),
}
"""The stages that train, in the order in which a model goes through them."""


class Curve(NamedTuple):
    """A stage's training loss."""

    tokens: list[float]
    nll: list[float]


def training_curve(inputs: Inputs, stage: str) -> Curve | None:
    """Loss by tokens seen; None where the stage left no records."""
    artifact = inputs[stage]
    records = [record for record in read_metrics(artifact.path) if "nll" in record]
    if not records:
        return None
    # The loop always records its last step, so steps are to that one as tokens to all tokens.
    tokens_per_step = num_tokens(artifact.manifest.metrics) / records[-1]["step"]
    return Curve([record["step"] * tokens_per_step for record in records], [record["nll"] for record in records])


def lane_figure(inputs: Inputs, rows: Mapping[str, StageRow], side: str) -> Markup | None:
    """Training loss over a model's whole life, stage after stage, with the held-out loss at each stage's ends."""
    curves = {stage: training_curve(inputs, stage) for stage in LANE_STAGES[side] if stage in inputs}
    if not curves or None in curves.values():
        return None
    description = f"Training loss of the {side} model by tokens, over the stages " + ", ".join(
        rows[stage].title for stage in curves
    )
    with drawing(f"curve-{side}", description) as draw:
        start = 0.0
        for number, (stage, curve) in enumerate(curves.items(), start=1):
            assert curve is not None
            end = start + rows[stage].num_tokens
            draw.axes.plot([start + x for x in curve.tokens], curve.nll, color=COLORS[side], linewidth=1.3)
            for change in rows[stage].changes[:1]:
                draw.axes.plot([start, end], [change.before, change.after], "o--", color=COLORS["ink"], **_MARKS)
            draw.axes.axvline(end, color=COLORS["line"], linewidth=0.7)
            draw.axes.text((start + end) / 2, 1.0, str(number), ha="center", va="bottom", **_above(draw))
            start = end
        draw.axes.set_xlim(0, start)
        draw.axes.set_ylim(bottom=0)
        _label(draw, "tokens", "nats a token")
    return draw.svg


_MARKS: dict[str, Any] = {"linewidth": 0.8, "markersize": 3.2, "clip_on": False, "zorder": 3}


def start_figure(inputs: Inputs) -> Markup | None:
    """The pruned and distilled start against the same shape from random weights, through the same stages."""
    lines = {
        "from scratch": ("control", [control for _, control in PAIRS.values()]),
        "pruned + distilled": ("device", [grown for grown, _ in PAIRS.values()]),
    }
    curves = {stage: training_curve(inputs, stage) for _, stages in lines.values() for stage in stages}
    if None in curves.values():
        return None
    description = "Training loss of the device model by tokens: pruned and distilled, against from scratch"
    with drawing("start", description) as draw:
        for label, (color, stages) in lines.items():
            draw.axes.plot([], [], color=COLORS[color], label=label)  # for the legend alone
            start = 0.0
            for stage in stages:
                curve = curves[stage]
                assert curve is not None
                draw.axes.plot([start + x for x in curve.tokens], curve.nll, color=COLORS[color])
                start += num_tokens(inputs[stage].manifest.metrics)
                heldout = inputs[stage].manifest.metrics["heldout_after"]["nll"]
                draw.axes.plot([start], [heldout], "o", color=COLORS[color], markersize=5, clip_on=False, zorder=3)
                draw.axes.axvline(start, color=COLORS["line"], linewidth=0.7)
        draw.axes.set_xlim(0, start)
        draw.axes.legend(frameon=False, loc="upper right")
        _label(draw, "tokens", "nats a token")
    return draw.svg


def positions_figure(inputs: Inputs, side: str, old_length: int) -> Markup | None:
    """Held-out loss by position before and after lengthening."""
    metrics = inputs[f"{side}_long_context"].manifest.metrics
    before, after = (metrics.get(f"nll_by_position_{when}") for when in ("before", "after"))
    if not before or not after:
        return None
    description = f"Held-out loss of the {side} model by position, before and after context-lengthening"
    with drawing(f"positions-{side}", description) as draw:
        for figures, color, label in ((before, "control", "before"), (after, side, "after")):
            edges = [int(bounds.partition("-")[0]) for bounds in figures] + [int(list(figures)[-1].partition("-")[2])]
            draw.axes.stairs(
                list(figures.values()), edges, baseline=None, color=COLORS[color], linewidth=2, label=label
            )
        draw.axes.axvline(old_length, color=COLORS["muted"], linewidth=0.9, linestyle=(0, (3, 3)))
        draw.axes.text(old_length, 1.0, "trained up to here", ha="left", va="bottom", **_above(draw))
        draw.axes.set_xlim(0, edges[-1])
        draw.axes.set_xticks(range(0, edges[-1] + 1, old_length))
        _pad(draw, [*before.values(), *after.values()])
        draw.axes.legend(frameon=False, loc="best")
        _label(draw, "position in the text, tokens", "nats a token", plain_x=True)
    return draw.svg


def pruning_figure(metrics: Mapping[str, Any]) -> Markup:
    """The parent, its chosen and as many random units, and what the stage left if it trained."""
    values = {
        "parent": metrics["heldout_before"]["nll"],
        "random units kept": metrics["heldout_random_units"]["nll"],
        "chosen units kept": metrics["heldout_chosen_units"]["nll"],
    }
    if num_tokens(metrics):
        values["chosen while training"] = metrics["heldout_after"]["nll"]
    description = "Held-out loss of the parent and of ways to prune it: " + ", ".join(
        f"{name} {loss(value)}" for name, value in values.items()
    )
    with drawing("pruning", description) as draw:
        _ladder(draw, values, [COLORS["ink"], COLORS["control"], *[COLORS["device"]] * (len(values) - 2)])
    return draw.svg


def compression_figure(figures: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Dense, palettized, with the untrained adapter, recovered: mean loss over all kinds of text and skills."""
    values = {name: mean_loss(part) for name, part in figures.items()}
    description = "Loss through compression: " + ", ".join(f"{name} {loss(value)}" for name, value in values.items())
    with drawing("compression", description) as draw:
        _ladder(draw, values, [COLORS["ink"], *[COLORS["device"]] * (len(values) - 1)])
    return draw.svg


def divergence_figure(values: Mapping[str, float]) -> Markup:
    """How far the compressed forms are from the dense model, which comes first."""
    description = "Divergence from the dense model, nats a token: " + ", ".join(
        f"{name} {nats(value)}" for name, value in values.items()
    )
    with drawing("divergence", description) as draw:
        colors = [COLORS["ink"], *[COLORS["device"]] * (len(values) - 1)]
        _ladder(draw, values, colors, [nats(value) for value in values.values()])
        # There is none below zero: room for the dot of the dense model, not for a tick.
        draw.axes.set_ylim(bottom=-0.05 * max(values.values()))
        draw.axes.set_ylabel("nats a token")
    return draw.svg


def mean_loss(figures: Mapping[str, Any]) -> float:
    """Mean over all kinds of text and skills."""
    by_kind = figures["nll_by_kind"]
    return math.fsum(by_kind.values()) / len(by_kind)


def _ladder(
    draw: Drawing, values: Mapping[str, float], colors: Sequence[str], texts: Sequence[str] | None = None
) -> None:
    """Values as dots on lines from the first one, which is the reference; the axis need not begin at zero."""
    reference = next(iter(values.values()))
    if texts is None:
        changes = [f"\n{signed(value - reference)}" for value in values.values()]
        texts = [loss(value) + change for value, change in zip(values.values(), ["", *changes[1:]], strict=True)]
    for place, (value, color, text) in enumerate(zip(values.values(), colors, texts, strict=True)):
        draw.axes.plot([place, place], [reference, value], color=color, linewidth=3)
        draw.axes.plot([place], [value], "o", color=color, markersize=7)
        above = value >= reference
        draw.axes.annotate(
            text, (place, value), (0, 8 if above else -8), textcoords="offset points", ha="center",
            va="bottom" if above else "top",
        )  # fmt: skip
    draw.axes.axhline(reference, color=COLORS["muted"], linewidth=0.9, linestyle=(0, (3, 3)), zorder=0)
    draw.axes.set_xticks(range(len(values)), [name.replace(" ", "\n", 1) for name in values])
    draw.axes.set_xlim(-0.5, len(values) - 0.5)
    _pad(draw, list(values.values()), room=0.45)
    draw.axes.set_ylabel("held out, nats a token")


def _pad(draw: Drawing, values: Sequence[float], room: float = 0.15) -> None:
    spread = max(values) - min(values) or 0.1
    draw.axes.set_ylim(min(values) - room * spread, max(values) + room * spread)


def _above(draw: Drawing) -> dict[str, Any]:
    """Text at a data x and just above the axes."""
    return {"transform": draw.axes.get_xaxis_transform(), "color": COLORS["muted"], "fontsize": 9}


def _tick(tokens: float) -> str:
    """A round number of tokens, without digits that say nothing."""
    number, space, unit = count(tokens).partition(NBSP)
    return f"{float(number):g}{space}{unit}"


def _label(draw: Drawing, x: str, y: str, *, plain_x: bool = False) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if not plain_x:
        draw.axes.xaxis.set_major_locator(MaxNLocator(5))
        draw.axes.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: _tick(tokens)))
    draw.axes.set_xlabel(x)
    draw.axes.set_ylabel(y)
