"""Preference pairs: two answers to one prompt, and by how much one is better (arXiv 2407.21075 section 4.2).

    {"prompt": {"messages": [...], "tools": [...]}, "answers": [MESSAGE, MESSAGE], "better": 0, "level": "better",
     "gradings": [{"truthfulness": "truthful"}, {}], "labeler": "...", "source": "...", "license": "..."}   one a line

A tie is no pair: it says nothing about which answer to prefer, and the report has no level for it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codling.config import config, from_dict, to_dict
from codling.data.json_lines import read_objects, write_objects
from codling.errors import UserError
from codling.posttrain.gradings import Gradings
from codling.posttrain.levels import Level
from codling.posttrain.prompts import (
    Prompt,
    check_conversation,
    content_id,
    is_empty,
    plain_message,
    plain_prompt,
    read_prompt,
)
from codling.tokenizer.messages import Message


@config
class PreferencePair:
    """Two answers to one prompt, judged."""

    prompt: Prompt
    """What both answer."""
    answers: tuple[Message, Message]
    """Two different messages of the assistant, each with content, tool calls or both."""
    better: int
    """Which of the two is the better one, 0 or 1."""
    level: Level
    """By how much."""
    gradings: tuple[Gradings, Gradings] | None = None
    """The grades of each answer, where somebody gave any."""
    labeler: str | None = None
    """Who or what found the one better: people, votes, a model, a rule; none: not known."""
    source: str
    """The set it comes from, and where it stands there."""
    license: str
    """Under which it may be used and passed on."""

    def __post_init__(self) -> None:
        if self.better not in (0, 1):
            raise ValueError(f"better is {self.better}; it names an answer, 0 or 1")
        for index, answer in enumerate(self.answers):
            if answer.role != "assistant":
                raise ValueError(f"answers[{index}]: a message of the {answer.role}; an answer is the assistant's")
            if is_empty(answer):
                raise ValueError(f"answers[{index}]: empty; an answer has content or tool calls")
            check_conversation((*self.prompt.messages, answer), ())
        if are_equal(*self.answers):
            raise ValueError("the two answers are equal; a pair needs two different ones")

    @property
    def chosen(self) -> Message:
        """The better answer."""
        return self.answers[self.better]

    @property
    def rejected(self) -> Message:
        """The other one."""
        return self.answers[1 - self.better]

    @property
    def id(self) -> str:
        """The same for the same prompt and answers in either order, whoever judged them: two verdicts meet in it."""
        answers = [content_id(plain_message(answer)) for answer in self.answers]
        return content_id([plain_prompt(self.prompt), sorted(answers)])


def are_equal(first: Message, second: Message) -> bool:
    """Whether two answers are the same but for space around them."""
    return (first.content or "").strip() == (second.content or "").strip() and first.tool_calls == second.tool_calls


def write_preferences(path: Path, pairs: Sequence[PreferencePair]) -> None:
    """Write one a line."""
    write_objects(path, map(_plain, pairs))


def read_preferences(path: Path) -> list[PreferencePair]:
    """Read preference pairs, one a line, plain or gzip.

    Errors: `UserError` that names file and line, for anything that is no pair; and for a file of none.
    """
    pairs = [_read_pair(record, place) for place, record in read_objects(path)]
    if not pairs:
        raise UserError(f"{path}: holds no preference pair")
    return pairs


def _read_pair(record: dict[str, Any], place: str) -> PreferencePair:
    values = dict(record)
    if "prompt" in values:
        # By itself first, so that an error is about the prompt and not about all that is in it.
        values["prompt"] = plain_prompt(read_prompt(values["prompt"], source=f"{place}: prompt"))
    return from_dict(PreferencePair, values, source=place)


def _plain(pair: PreferencePair) -> dict[str, Any]:
    answers = [plain_message(answer) for answer in pair.answers]
    return {**to_dict(pair), "prompt": plain_prompt(pair.prompt), "answers": answers}
