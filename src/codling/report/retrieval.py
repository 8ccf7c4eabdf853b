"""Facts found again, by length of the text and depth of the fact: a heat map, and the same in four numbers."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from markupsafe import Markup

from codling.artifact.stage import Inputs
from codling.report.formats import percent
from codling.report.skill_scores import Interval, wilson_interval
from codling.report.svg import COLORS, Drawing, drawing

MAPPED = "one_fact"
"""The category of the heat map."""
DARK_FROM = 0.7
"""From this share on a cell is so full of its color that its number is written in the page's."""
HEIGHT_IN = 2.6


class Share(NamedTuple):
    """How many facts were found."""

    share: float
    interval: Interval


class Found(NamedTuple):
    """One category, before and after context-lengthening."""

    category: str
    within: tuple[Share, Share] | None
    """Texts no longer than the old context; None where none was measured."""
    beyond: tuple[Share, Share] | None
    chance: float
    """A value at random."""
    chance_among_told: float
    """One of the values that the text tells."""


def found(inputs: Inputs, side: str, old_length: int) -> list[Found]:
    """Every category that was measured; nothing where retrieval was not."""
    metrics = inputs[f"{side}_long_context"].manifest.metrics
    before, after = (metrics.get(f"retrieval_{when}") for when in ("before", "after"))
    if not before or not after:
        return []
    return [
        Found(
            category=category,
            within=_shares(before, after, category, is_within=True, old_length=old_length),
            beyond=_shares(before, after, category, is_within=False, old_length=old_length),
            chance=after["chance"],
            chance_among_told=after["chance_among_told"][category],
        )
        for category in after["choice"]
    ]


def _shares(
    before: Mapping[str, Any], after: Mapping[str, Any], category: str, *, is_within: bool, old_length: int
) -> tuple[Share, Share] | None:
    rows = [index for index, length in enumerate(after["lengths_tokens"]) if (length <= old_length) == is_within]
    if not rows:
        return None
    shares = []
    for figures in (before, after):
        cells = [cell for index in rows for cell in figures["choice"][category][index]]
        share, number = sum(cells) / len(cells), len(cells) * figures["num_documents"][category]
        shares.append(Share(share, wilson_interval(round(share * number), number)))
    return shares[0], shares[1]


def retrieval_figure(inputs: Inputs, side: str, old_length: int) -> Markup | None:
    """Two heat maps, before and after; None where retrieval was not measured."""
    metrics = inputs[f"{side}_long_context"].manifest.metrics
    maps = {when: metrics.get(f"retrieval_{when}") for when in ("before", "after")}
    if not all(figures and MAPPED in figures["choice"] for figures in maps.values()):
        return None
    means = (
        f"{when} {percent(_mean([cell for row in figures['choice'][MAPPED] for cell in row]))}"
        for when, figures in maps.items()
        if figures
    )
    description = (
        f"Share of facts that the {side} model finds again, by length of the text and depth of the fact, before and "
        f"after context-lengthening; mean over all cells: {', '.join(means)}"
    )
    with drawing(f"retrieval-{side}", description, height_in=HEIGHT_IN, num_panels=2) as draw:
        for panel, (when, figures) in enumerate(maps.items()):
            assert figures is not None
            _draw_map(draw, panel, figures, side, old_length)
            draw.panels[panel].set_title(when, fontsize=10, color=COLORS["ink"], pad=14)
        draw.panels[0].set_ylabel("depth of the fact")
    return draw.svg


def _draw_map(draw: Drawing, panel: int, figures: Mapping[str, Any], side: str, old_length: int) -> None:
    from matplotlib.patches import Rectangle

    axes, lengths, depths = draw.panels[panel], figures["lengths_tokens"], figures["depths"]
    for column, cells in enumerate(figures["choice"][MAPPED]):
        for row, share in enumerate(cells):
            place = (column - 0.47, row - 0.47)
            axes.add_patch(Rectangle(place, 0.94, 0.94, facecolor=COLORS[side], edgecolor="none", alpha=share))
            axes.add_patch(Rectangle(place, 0.94, 0.94, facecolor="none", edgecolor=COLORS["line"], linewidth=0.6))
            color = COLORS["card" if share >= DARK_FROM else "ink"]
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8.5, color=color)
    num_trained = sum(length <= old_length for length in lengths)
    if 0 < num_trained < len(lengths):
        axes.axvline(num_trained - 0.5, color=COLORS["ink"], linewidth=1.1, linestyle=(0, (3, 2)))
    axes.set_xlim(-0.5, len(lengths) - 0.5)
    axes.set_ylim(len(depths) - 0.5, -0.5)
    axes.set_xticks(range(len(lengths)), [str(length) for length in lengths], fontsize=8.5)
    axes.set_yticks(range(len(depths)), [f"{100 * depth:.0f}%" for depth in depths] if panel == 0 else [], fontsize=8.5)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("length of the text, tokens", fontsize=9)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
