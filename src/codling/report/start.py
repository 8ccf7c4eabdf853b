"""What the pruned and distilled start is worth: each stage of it beside the same stage of the control from scratch."""

from typing import NamedTuple

from codling.artifact.stage import Inputs
from codling.report.stage_table import num_tokens

PAIRS = {
    "distillation": ("device_distill", "device_from_scratch"),
    "continued pre-training": ("device_continued", "device_from_scratch_continued"),
}
"""What both went through -> the stage of the device model, and the control's on as many tokens of the same mixture."""


class Heldout(NamedTuple):
    """How well a model predicts held-out text."""

    nll: float
    accuracy: float | None
    """Share of the tokens that were its first choice; None where it was not measured."""


class StartPart(NamedTuple):
    """One stage of both."""

    after: str
    num_tokens: int
    """That each has seen up to here, the parent's and the teacher's not counted."""
    grown: Heldout
    control: Heldout


def start_parts(inputs: Inputs) -> list[StartPart]:
    """Both stages, one after the other."""
    parts, seen = [], 0
    for after, (grown, control) in PAIRS.items():
        seen += num_tokens(inputs[grown].manifest.metrics)
        parts.append(StartPart(after, seen, _heldout(inputs, grown), _heldout(inputs, control)))
    return parts


def _heldout(inputs: Inputs, stage: str) -> Heldout:
    figures = inputs[stage].manifest.metrics["heldout_after"]
    return Heldout(figures["nll"], figures.get("accuracy"))
