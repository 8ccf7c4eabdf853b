"""How an answer is judged, as data: one of the kinds of check, from JSON and to it."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from codling.config import config, from_dict, to_dict
from codling.rewards.format import FormatCheck
from codling.rewards.number import NumberCheck
from codling.rewards.python_tests import PythonTestsCheck
from codling.rewards.text import TextCheck
from codling.rewards.tool_call import ToolCallCheck
from codling.skills.skill import Answer


@config
class WeightedPart:
    """A check and what it counts beside the others."""

    weight: float
    check: "Check"

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise ValueError(f"weight is {self.weight}, it must be above 0 and finite")


@config
class WeightedCheck:
    """The mean of several checks' scores, by weight."""

    kind: Literal["weighted"] = "weighted"
    parts: tuple[WeightedPart, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("parts is empty; name at least one")

    def score(self, answer: Answer) -> float:
        """The weighted mean. Weights count relative to the largest, so that none overflows."""
        largest = max(part.weight for part in self.parts)
        weights = [part.weight / largest for part in self.parts]
        scores = [score(part.check, answer) for part in self.parts]
        return min(1.0, sum(w * s for w, s in zip(weights, scores, strict=True)) / sum(weights))


Check = Annotated[
    NumberCheck | TextCheck | ToolCallCheck | FormatCheck | PythonTestsCheck | WeightedCheck,
    Field(discriminator="kind"),
]


@config
class _Held:
    """A check under a key, as a union has no class of its own to be read by."""

    check: Check


def score(check: Check, answer: Answer) -> float:
    """Judge an answer: from 0 (wrong) to 1 (right). An empty answer scores 0.

    Errors: `UserError` where code is to be run and this machine cannot isolate it; nothing else.
    """
    if not answer.text.strip() and not answer.tool_calls:
        return 0.0
    return check.score(answer)


def read_check(values: Mapping[str, Any], *, source: str) -> Check:
    """Read a check from JSON values. Errors: `UserError` that names `source`, the key and what is wrong with it."""
    return from_dict(_Held, {"check": dict(values)}, source=source).check


def write_check(check: Check) -> dict[str, Any]:
    """Write a check as JSON values."""
    return to_dict(check)
