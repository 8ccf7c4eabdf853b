"""Demonstrations: conversations in which the assistant does what it should (arXiv 2407.21075 section 4.1).

    {"messages": [...], "tools": [...], "source": "...", "license": "..."}      one a line

Supervised fine-tuning learns from every message of the assistant, so none of them may be empty.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codling.config import config, from_dict
from codling.data.json_lines import read_objects, write_objects
from codling.errors import UserError
from codling.posttrain.prompts import Prompt, check_conversation, content_id, flat, is_empty, plain_message
from codling.tokenizer.messages import Message


@config
class Demonstration:
    """One conversation to learn from."""

    messages: tuple[Message, ...]
    """The conversation; its last message is the assistant's."""
    tools: tuple[dict[str, Any], ...] = ()
    """Function definitions, flat: name, description, parameters."""
    source: str
    """The set it comes from, and where it stands there."""
    license: str
    """Under which it may be used and passed on."""

    def __post_init__(self) -> None:
        check_conversation(self.messages, self.tools)
        if self.messages[-1].role != "assistant":
            raise ValueError(f"the last message is of the {self.messages[-1].role}; it must be the assistant's")
        for index, message in enumerate(self.messages):
            if message.role == "assistant" and is_empty(message):
                raise ValueError(f"messages[{index}]: the assistant's message is empty")

    @property
    def prompt(self) -> Prompt:
        """Everything before the last message."""
        return Prompt(messages=self.messages[:-1], tools=self.tools)

    @property
    def id(self) -> str:
        """The same for the same conversation and tools, whatever set they were read from."""
        plain = _plain(self)
        return content_id([plain["messages"], plain.get("tools", [])])


def write_demonstrations(path: Path, demonstrations: Sequence[Demonstration]) -> None:
    """Write one a line."""
    write_objects(path, map(_plain, demonstrations))


def read_demonstrations(path: Path) -> list[Demonstration]:
    """Read demonstrations, one a line, plain or gzip.

    Errors: `UserError` that names file and line, for anything that is no demonstration; and for a file of none.
    """
    demonstrations = [
        from_dict(Demonstration, flat(record, source=place), source=place) for place, record in read_objects(path)
    ]
    if not demonstrations:
        raise UserError(f"{path}: holds no demonstration")
    return demonstrations


def _plain(demonstration: Demonstration) -> dict[str, Any]:
    tools = {"tools": list(demonstration.tools)} if demonstration.tools else {}
    messages = [plain_message(message) for message in demonstration.messages]
    return {"messages": messages, **tools, "source": demonstration.source, "license": demonstration.license}
