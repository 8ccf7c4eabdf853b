"""What a request may ask of a text's form: length, words, letters, lists.

Of the kind that IFEval asks for (arXiv 2311.07911). A constraint is plain data with a name, and knows whether a text
meets it. Words are runs without spaces; sentences end in a full stop, question or exclamation mark.
"""

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pydantic

from codling.config import config, from_dict


@config
class NumWords:
    """So many words, both ends included."""

    kind: Literal["num_words"] = "num_words"
    least: int = 0
    most: int | None = None

    def is_met(self, text: str) -> bool:
        """Whether the text has them."""
        return _is_between(len(text.split()), self.least, self.most)


@config
class NumSentences:
    """So many sentences, both ends included."""

    kind: Literal["num_sentences"] = "num_sentences"
    least: int = 0
    most: int | None = None

    def is_met(self, text: str) -> bool:
        """Whether the text has them, the last one ended too."""
        ends = len(re.findall(r"[.!?]+(?=\s|$)", text.strip()))
        is_ended = text.strip()[-1:] in (".", "!", "?")
        return is_ended and _is_between(ends, self.least, self.most)


@config
class HasWord:
    """A word occurs, in any case."""

    kind: Literal["has_word"] = "has_word"
    word: str

    def is_met(self, text: str) -> bool:
        """Whether it does, as a whole word."""
        return _has_word(text, self.word)


@config
class LacksWord:
    """A word does not occur."""

    kind: Literal["lacks_word"] = "lacks_word"
    word: str

    def is_met(self, text: str) -> bool:
        """Whether it does not, as a whole word, in any case."""
        return not _has_word(text, self.word)


@config
class Letters:
    """All letters small, or all capital."""

    kind: Literal["letters"] = "letters"
    case: Literal["small", "capital"]

    def is_met(self, text: str) -> bool:
        """Whether there are letters, and none of the other case."""
        has_letters = any(character.isalpha() for character in text)
        return has_letters and text == (text.lower() if self.case == "small" else text.upper())


@config
class StartsWith:
    """The text begins so."""

    kind: Literal["starts_with"] = "starts_with"
    start: str

    def is_met(self, text: str) -> bool:
        """Whether it does, to the letter."""
        return text.strip().startswith(self.start)


@config
class EndsWith:
    """The text ends so."""

    kind: Literal["ends_with"] = "ends_with"
    end: str

    def is_met(self, text: str) -> bool:
        """Whether it does, to the letter."""
        return text.strip().endswith(self.end)


@config
class NumItems:
    """A list of so many items, each a line that begins with `- ` or `* `, and nothing else."""

    kind: Literal["num_items"] = "num_items"
    num_items: int

    def is_met(self, text: str) -> bool:
        """Whether every line is an item, and their number is right."""
        lines = [line for line in text.strip().split("\n") if line.strip()]
        return len(lines) == self.num_items and all(re.match(r"\s*[-*] \S", line) for line in lines)


@config
class LacksCommas:
    """No comma anywhere."""

    kind: Literal["lacks_commas"] = "lacks_commas"

    def is_met(self, text: str) -> bool:
        """Whether there is none."""
        return "," not in text


@config
class IsJson:
    """The whole text is a JSON object or array."""

    kind: Literal["is_json"] = "is_json"

    def is_met(self, text: str) -> bool:
        """Whether it can be read as one."""
        try:
            return isinstance(json.loads(text), dict | list)
        except (ValueError, RecursionError):
            return False


Constraint = Annotated[
    NumWords | NumSentences | HasWord | LacksWord | Letters | StartsWith | EndsWith | NumItems | LacksCommas | IsJson,
    pydantic.Field(discriminator="kind"),
]


@config
class _Form:
    constraints: tuple[Constraint, ...]


def read_constraints(values: Sequence[Any], *, source: str) -> tuple[Constraint, ...]:
    """Read them from JSON values. Errors: `UserError` that names `source`, and what is wrong with them."""
    return from_dict(_Form, {"constraints": values}, source=source).constraints


def _is_between(count: int, least: int, most: int | None) -> bool:
    return least <= count and (most is None or count <= most)


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None
