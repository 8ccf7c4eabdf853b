"""Check `text`: the answer says what is expected, but for case, spaces and a full stop at its end."""

from typing import Literal

from codling.config import config
from codling.skills.skill import plain


@config
class TextCheck:
    """The answer is one of these."""

    kind: Literal["text"] = "text"
    texts: tuple[str, ...]
    """Any of them will do."""

    def __post_init__(self) -> None:
        if not self.texts or not all(plain(text) for text in self.texts):
            raise ValueError("texts must hold at least one text, and no empty one")


def score_text(check: TextCheck, text: str) -> float:
    """1 where the text is one of those expected; else 0."""
    return float(plain(text) in {plain(expected) for expected in check.texts})
