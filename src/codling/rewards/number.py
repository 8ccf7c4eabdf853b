"""A check of answers that end in a number."""

from typing import Literal

from codling.config import config
from codling.skills.numbers import NUMBER, last_number
from codling.skills.skill import Answer


@config
class NumberCheck:
    """The last number in the text is `expected`, however it is written: 1200 is 1,200.00, 0.75 is 3/4."""

    kind: Literal["number"] = "number"
    expected: str
    """The number as text, so that decimals are exact."""

    def __post_init__(self) -> None:
        if not NUMBER.fullmatch(self.expected) or last_number(self.expected) is None:
            raise ValueError(f"expected is '{self.expected}', it must be one number")

    def score(self, answer: Answer) -> float:
        """1 or 0."""
        return float(not answer.tool_calls and last_number(answer.text) == last_number(self.expected))
