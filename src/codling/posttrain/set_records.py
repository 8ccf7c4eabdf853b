"""What the readers of published sets share: records with places, reasons to leave one out, turns of a dialogue.

A reader never mends a record. What is no pair and no demonstration is left out, and counted under its reason.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from codling.errors import UserError
from codling.tokenizer.messages import Message, read_messages

T = TypeVar("T")
Record = Mapping[str, Any]
Records = Iterable[tuple[str, Record]]
"""Records, each with the place by which an error names it."""
TURN = re.compile(r"\n\n(Human|Assistant):")
ROLES = {
    "human": "user",
    "Human": "user",
    "prompter": "user",
    "user": "user",
    "gpt": "assistant",
    "Assistant": "assistant",
    "assistant": "assistant",
    "system": "system",
}
"""The names that the sets have for who speaks."""


class Lacks(StrEnum):
    """What a set does not tell."""

    LEVEL = "level"
    GRADINGS = "gradings"
    LABELER = "labeler"
    TOOLS = "tools"


class LeftOut(StrEnum):
    """Why a record gave nothing."""

    TIE = "the judges found neither better"
    EMPTY_ANSWER = "an answer is empty"
    EQUAL_ANSWERS = "the answers are equal"
    NOT_TEXT = "an answer is not text"
    PROMPTS_DIFFER = "the answers have different prompts"
    BROKEN_DIALOGUE = "turns in an impossible order"
    UNPAIRED = "no answer of the other kind to pair it with"
    LOW_RATED = "rated bad"
    OTHER_FORM = "tool calls in another form than ours"


def each(read: Callable[[Record], T], set_name: str) -> Callable[[Records], Iterator[T]]:
    """Lift a function of one record; a record of another shape becomes an error that names its place."""

    def read_all(records: Records) -> Iterator[T]:
        for place, record in records:
            try:
                yield read(record)
            except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
                reason = f"no key {error}" if isinstance(error, KeyError) else str(error)
                raise UserError(f"{place}: not a record of {set_name} ({reason})") from None

    return read_all


def dialogue(turns: Sequence[Mapping[str, Any]]) -> tuple[Message, ...] | LeftOut:
    """Check messages; an order of turns that we have no form for is a reason to leave the record out."""
    try:
        return read_messages(turns)
    except UserError:
        return LeftOut.BROKEN_DIALOGUE


def split_turns(text: str) -> list[dict[str, str]]:
    """Take apart a dialogue written as `\\n\\nHuman: ...\\n\\nAssistant: ...`."""
    start, *parts = TURN.split(text)
    if start.strip():
        raise ValueError("text before the first turn")
    return [
        {"role": ROLES[who], "content": content.strip()} for who, content in zip(parts[::2], parts[1::2], strict=True)
    ]


def with_input(instruction: str, given: str) -> str:
    """An instruction, and below it what it is about, where there is something."""
    return f"{instruction}\n\n{given}" if given.strip() else instruction


def sort_out(results: Sequence[T | LeftOut], path: Path, what: str) -> tuple[tuple[T, ...], dict[LeftOut, int]]:
    """What the records of a set gave, and how many gave nothing, by reason.

    Errors: `UserError` where none gave anything; `what` is what the file should hold.
    """
    found = tuple(result for result in results if not isinstance(result, LeftOut))
    left_out = Counter(result for result in results if isinstance(result, LeftOut))
    if not found:
        reasons = "; ".join(f"{count}: {reason.value}" for reason, count in left_out.items()) or "no records"
        raise UserError(f"{path}: holds no {what} ({reasons})")
    return found, dict(left_out)
