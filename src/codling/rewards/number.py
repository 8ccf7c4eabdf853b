"""Check `number`: the last number of the answer is the one expected, as solutions end in their result."""

from typing import Literal

from codling.config import config
from codling.skills.numbers import last_number


@config
class NumberCheck:
    """The answer ends in a number."""

    kind: Literal["number"] = "number"
    number: str
    """The one expected, in decimal digits: `85`, `-2.5`."""

    def __post_init__(self) -> None:
        if last_number(self.number) is None:
            raise ValueError(f"number '{self.number}' is none; write it in decimal digits, such as 85 or -2.5")


def score_number(check: NumberCheck, text: str) -> float:
    """1 where the last number of the text equals the expected one, in value and not in spelling; else 0."""
    return float(last_number(text) == last_number(check.number))
