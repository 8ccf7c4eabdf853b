"""Check `tool_call`: the answer calls the expected tool with equal arguments, or none where none is due."""

from dataclasses import field
from typing import Any, Literal

from codling.config import config
from codling.skills.skill import Answer
from codling.skills.tool_calls import score_calls


@config
class ToolCallCheck:
    """The answer makes one call, or none."""

    kind: Literal["tool_call"] = "tool_call"
    name: str | None = None
    """Of the tool; none: no call is due."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Every one of them, and no other."""
    gives_partial_credit: bool = False
    """Whether a call of the right tool earns its share of right arguments, or nothing."""


def score_tool_call(check: ToolCallCheck, answer: Answer) -> float:
    """1 for the expected call alone; where none is due, for words and no call; else 0, or the share that is right."""
    if check.name is None:
        return float(not answer.tool_calls and bool(answer.text.strip()))
    score = score_calls(answer.tool_calls, {"name": check.name, "arguments": check.arguments})
    return score.partial if check.gives_partial_credit else float(score.exact)
