"""Adapters of single features, each on the task that it was trained for: the device model without and with it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from codling.report.paired_scores import PairedScore, paired_interval
from codling.report.skill_scores import skill_title

EXACT = "exact"
"""The unit of a share of prompts that are exactly right: what won and lost prompts are counted by."""


class ShownPrompt(NamedTuple):
    """A held-out prompt, and what came of it."""

    prompt: str
    expected: str
    answers: dict[str, str]
    """Who -> text."""


class FeatureAdapter(NamedTuple):
    """One adapter."""

    name: str
    title: str
    unit: str
    num_prompts: int
    bare: float
    """Palettized, without any adapter."""
    recovered: float
    adapted: float
    num_won: int
    num_lost: int
    paired: PairedScore | None
    """From the recovery adapter to this one; None where another unit than `EXACT` is measured."""
    swap_ms: float
    """To put this adapter in the place of another."""
    example: ShownPrompt | None
    """The first prompt that the two adapters answer differently, or else the first."""


def feature_adapters(measured: Mapping[str, Any], swap_ms: Mapping[str, float]) -> list[FeatureAdapter]:
    """All that were measured. `measured` is what the measuring stage wrote, and how long a swap took it."""
    return [_feature_adapter(name, figures, swap_ms[name]) for name, figures in measured["adapters"].items()]


def _feature_adapter(name: str, figures: Mapping[str, Any], swap_ms: float) -> FeatureAdapter:
    return FeatureAdapter(
        name=name,
        title=skill_title(name),
        unit=figures["unit"],
        num_prompts=figures["num_prompts"],
        bare=figures["bare"],
        recovered=figures["recovered"],
        adapted=figures["adapted"],
        num_won=figures["won"],
        num_lost=figures["lost"],
        paired=_paired(name, figures) if figures["unit"] == EXACT else None,
        swap_ms=swap_ms,
        example=_example(figures),
    )


def _paired(name: str, figures: Mapping[str, Any]) -> PairedScore:
    won, lost, number = figures["won"], figures["lost"], figures["num_prompts"]
    return PairedScore(
        title=skill_title(name),
        num_examples=number,
        before=figures["recovered"],
        after=figures["adapted"],
        num_won=won,
        num_lost=lost,
        interval=paired_interval(won, lost, number),
    )


def _example(figures: Mapping[str, Any]) -> ShownPrompt | None:
    examples = figures["examples"]
    chosen = next((one for one in examples if one["recovered"] != one["adapted"]), next(iter(examples), None))
    if chosen is None:
        return None
    answers = {
        "with the recovery adapter": chosen["recovered"],
        "with the feature adapter": chosen["adapted"],
    }
    return ShownPrompt(chosen["prompt"], chosen["expected"], answers)
