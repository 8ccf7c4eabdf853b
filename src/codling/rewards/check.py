"""A check: what must hold of an answer, as plain data, and the score that an answer earns by it, from 0 to 1.

Where this sits in the recipe: online training and the committee's labels score answers by checks wherever an answer can
be checked, and by the reward model elsewhere (arXiv 2407.21075 section 4). Checks travel with their prompts, as JSON.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic

from codling.config import config, from_dict
from codling.rewards.format import FormatCheck, score_format
from codling.rewards.number import NumberCheck, score_number
from codling.rewards.python_tests import PythonTestsCheck, score_python_tests
from codling.rewards.text import TextCheck, score_text
from codling.rewards.tool_call import ToolCallCheck, score_tool_call
from codling.skills.skill import Answer


@config
class WeightedCheck:
    """Several checks at once, each with its share."""

    kind: Literal["weighted"] = "weighted"
    checks: tuple["Check", ...]
    weights: tuple[float, ...]
    """One for each check, none negative; they are divided by their sum."""

    def __post_init__(self) -> None:
        if not self.checks or len(self.checks) != len(self.weights):
            raise ValueError(f"{len(self.weights)} weights for {len(self.checks)} checks; give one for each")
        if min(self.weights) < 0 or not 0 < sum(self.weights) < float("inf"):
            raise ValueError(f"weights {list(self.weights)}: none may be negative, and their sum must be positive")


Check = Annotated[
    NumberCheck | TextCheck | ToolCallCheck | FormatCheck | PythonTestsCheck | WeightedCheck,
    pydantic.Field(discriminator="kind"),
]


def score(check: Check, answer: Answer) -> float:
    """What an answer earns. An empty answer earns nothing, and is no error; one that calls a tool unasked neither."""
    match check:
        case ToolCallCheck():
            return score_tool_call(check, answer)
        case WeightedCheck():
            parts = (weight * score(part, answer) for part, weight in zip(check.checks, check.weights, strict=True))
            return sum(parts) / sum(check.weights)
    if answer.tool_calls:
        return 0.0
    match check:
        case NumberCheck():
            return score_number(check, answer.text)
        case TextCheck():
            return score_text(check, answer.text)
        case FormatCheck():
            return score_format(check, answer.text)
        case PythonTestsCheck():
            return score_python_tests(check, answer.text)
    raise AssertionError(check)


def read_check(values: Mapping[str, Any], *, source: str) -> Check:
    """Read a check from JSON values. Errors: `UserError` that names `source`, and what is wrong with it."""
    # Through a configuration that holds one, whose errors are worded already.
    return from_dict(_Holder, {"check": values}, source=source).check


@config
class _Holder:
    check: Check
