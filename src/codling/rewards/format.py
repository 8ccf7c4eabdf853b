"""A check of an answer's form."""

from typing import Literal

from codling.config import config
from codling.skills.constraints import Constraint
from codling.skills.skill import Answer


@config
class FormatCheck:
    """The text meets these constraints."""

    kind: Literal["format"] = "format"
    constraints: tuple[Constraint, ...]
    all_or_nothing: bool = False
    """Whether a text that misses one of them scores nothing; otherwise it scores the share that it meets."""

    def __post_init__(self) -> None:
        if not self.constraints:
            raise ValueError("constraints is empty; name at least one")

    def score(self, answer: Answer) -> float:
        """The share of constraints met."""
        if answer.tool_calls:
            return 0.0
        share = sum(constraint.met(answer.text) for constraint in self.constraints) / len(self.constraints)
        return float(share == 1) if self.all_or_nothing else share
