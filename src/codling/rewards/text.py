"""A check of answers of a few words."""

from typing import Literal

from codling.config import config
from codling.skills.skill import Answer, plain


@config
class TextCheck:
    """The text is `expected`; case, white space and a full stop at the end do not count (`plain`)."""

    kind: Literal["text"] = "text"
    expected: str

    def __post_init__(self) -> None:
        if not plain(self.expected):
            raise ValueError("expected is empty; an empty answer is never right")

    def score(self, answer: Answer) -> float:
        """1 or 0."""
        return float(not answer.tool_calls and plain(answer.text) == plain(self.expected))
