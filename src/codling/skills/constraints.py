"""What a request may ask of a text's form: each constraint is data that tells whether a text meets it.

The kinds are among those of IFEval (arXiv 2311.07911, table 4), so that evaluations of that sort can use them.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from codling.config import config, from_dict

BULLET = re.compile(r"^\s*[-*\u2022] +\S")
SENTENCE_END = re.compile(r"[.!?]+[\"')\u201d]*(?=\s|$)")
QUOTES = {'"': '"', "\u201c": "\u201d"}


@config
class Words:
    """A number of words, parted by white space: at least `minimum`, at most `maximum`."""

    kind: Literal["words"] = "words"
    minimum: int = 0
    maximum: int | None = None

    def __post_init__(self) -> None:
        _check_range(self.minimum, self.maximum)

    def met(self, text: str) -> bool:
        """Tell whether the text meets it."""
        return _within(len(text.split()), self.minimum, self.maximum)


@config
class Sentences:
    """A number of sentences: a full stop, exclamation or question mark ends one; the rest of a text is one too."""

    kind: Literal["sentences"] = "sentences"
    minimum: int = 0
    maximum: int | None = None

    def __post_init__(self) -> None:
        _check_range(self.minimum, self.maximum)

    def met(self, text: str) -> bool:
        """Tell whether the text meets it."""
        return _within(sum(bool(part.strip()) for part in SENTENCE_END.split(text)), self.minimum, self.maximum)


@config
class Includes:
    """All of these words are there, as whole words and whatever their case."""

    kind: Literal["includes"] = "includes"
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_words(self.words)

    def met(self, text: str) -> bool:
        """Tell whether the text meets it."""
        return all(_has_word(text, word) for word in self.words)


@config
class Excludes:
    """None of these words is there."""

    kind: Literal["excludes"] = "excludes"
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_words(self.words)

    def met(self, text: str) -> bool:
        """Tell whether the text meets it."""
        return not any(_has_word(text, word) for word in self.words)


@config
class LetterCase:
    """Only small letters, or only capitals; at least one letter."""

    kind: Literal["letter_case"] = "letter_case"
    case: Literal["lower", "upper"]

    def met(self, text: str) -> bool:
        """Tell whether the text meets it."""
        return text.islower() if self.case == "lower" else text.isupper()


@config
class StartsWith:
    """The first characters, whatever their case."""

    kind: Literal["starts_with"] = "starts_with"
    text: str

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError("text is empty")

    def met(self, text: str) -> bool:
        """Tell whether the text meets it."""
        return text.lstrip().casefold().startswith(self.text.casefold())


@config
class EndsWith:
    """The last characters, whatever their case."""

    kind: Literal["ends_with"] = "ends_with"
    text: str

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError("text is empty")

    def met(self, text: str) -> bool:
        """Tell whether the text meets it."""
        return text.rstrip().casefold().endswith(self.text.casefold())


@config
class Bullets:
    """A list of exactly `count` points, each a line that begins with "-", "*" or a bullet."""

    kind: Literal["bullets"] = "bullets"
    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count is {self.count}, it must be 1 or more")

    def met(self, text: str) -> bool:
        """Tell whether the text meets it."""
        return sum(bool(BULLET.match(line)) for line in text.splitlines()) == self.count


@config
class NoCommas:
    """No comma anywhere."""

    kind: Literal["no_commas"] = "no_commas"

    def met(self, text: str) -> bool:
        """Tell whether the text meets it."""
        return "," not in text


@config
class JsonObject:
    """The whole text is one JSON object that has these keys."""

    kind: Literal["json_object"] = "json_object"
    keys: tuple[str, ...] = ()

    def met(self, text: str) -> bool:
        """Tell whether the text meets it."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return False
        return isinstance(value, dict) and value.keys() >= set(self.keys)


@config
class Quoted:
    """The whole text stands in quotation marks."""

    kind: Literal["quoted"] = "quoted"

    def met(self, text: str) -> bool:
        """Tell whether the text meets it."""
        inner = text.strip()
        return len(inner) > 2 and QUOTES.get(inner[0]) == inner[-1]


Constraint = Annotated[
    Words
    | Sentences
    | Includes
    | Excludes
    | LetterCase
    | StartsWith
    | EndsWith
    | Bullets
    | NoCommas
    | JsonObject
    | Quoted,
    Field(discriminator="kind"),
]


@config
class _Held:
    """A constraint under a key, as a union has no class of its own to be read by."""

    constraint: Constraint


def read_constraint(values: Mapping[str, Any]) -> Constraint:
    """Read a constraint from JSON values. Errors: `UserError` that names the kind or key that is wrong."""
    return from_dict(_Held, {"constraint": dict(values)}, source="form").constraint


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def _within(number: int, minimum: int, maximum: int | None) -> bool:
    return number >= minimum and (maximum is None or number <= maximum)


def _check_range(minimum: int, maximum: int | None) -> None:
    if minimum < 0 or (maximum is not None and maximum < max(1, minimum)) or (minimum == 0 and maximum is None):
        raise ValueError(f"minimum {minimum} and maximum {maximum} leave nothing to check, or nothing that meets them")


def _check_words(words: tuple[str, ...]) -> None:
    if not words or not all(word.strip() for word in words):
        raise ValueError("words is empty, or holds an empty word")
