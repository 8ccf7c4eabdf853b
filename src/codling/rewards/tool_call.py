"""A check of answers that call a tool."""

from typing import Any, Literal

from codling.config import config
from codling.skills.skill import Answer
from codling.skills.tool_calls import score_calls


@config
class ToolCallCheck:
    """The answer makes one call, to this tool with these arguments."""

    kind: Literal["tool_call"] = "tool_call"
    name: str
    arguments: dict[str, Any]
    partial_credit: bool = False
    """Whether a call that is partly right scores the share of its name and arguments that are."""

    def score(self, answer: Answer) -> float:
        """1 or 0, or what lies between with `partial_credit`."""
        exact, partial = score_calls(answer.tool_calls, {"name": self.name, "arguments": self.arguments})
        return partial if self.partial_credit else float(exact)
