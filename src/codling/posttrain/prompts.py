"""What an answer is asked for: a conversation so far, and the tools that may be called.

Where this sits in the recipe: demonstrations, preference pairs and the answers that online training samples all hang
on a prompt. Conversations are those of `tokenizer.messages`, so that the chat template takes them as they are.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from codling.config import config, from_dict, to_dict
from codling.errors import UserError
from codling.tokenizer.messages import Message, read_messages, read_tools

ID_LENGTH_CHARACTERS = 16
ANSWERED_ROLES = ("user", "tool")


@config
class Prompt:
    """Everything before an answer."""

    messages: tuple[Message, ...]
    """The conversation so far; its last message is a user's, or a tool's result."""
    tools: tuple[dict[str, Any], ...] = ()
    """Function definitions, flat: name, description, parameters."""

    def __post_init__(self) -> None:
        check_conversation(self.messages, self.tools)
        last = self.messages[-1]
        if last.role not in ANSWERED_ROLES:
            raise ValueError(f"the last message is of the {last.role}; only a user or a tool can be answered")
        if last.role == "user" and is_empty(last):
            raise ValueError("the last message is empty; there is nothing to answer")

    @property
    def id(self) -> str:
        """The same for the same prompt, wherever it was read."""
        return content_id(plain_prompt(self))


def read_prompt(values: Any, *, source: str) -> Prompt:
    """Check a prompt as it is written in a file; calls and tools may have OpenAI's wrapping.

    Errors: `UserError` that names `source`, for a prompt that is missing or cannot be answered.
    """
    if not isinstance(values, Mapping):
        raise UserError(f'{source}: expected an object with messages, as in {{"messages": [{{"role": "user", ...}}]}}')
    return from_dict(Prompt, flat(values, source=source), source=source)


def flat(values: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """Take OpenAI's wrapping off the messages and tools of a record; its other keys stay as they are."""
    result = dict(values)
    if isinstance(result.get("messages"), list):
        result["messages"] = [plain_message(m) for m in read_messages(result["messages"], source=f"{source}: messages")]
    if isinstance(result.get("tools"), list):
        result["tools"] = read_tools(result["tools"], source=f"{source}: tools")
    return result


def check_conversation(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> None:
    """Refuse turns in an impossible order, by the `ValueError` that configurations report."""
    try:
        read_messages(messages)
        read_tools(tools)
    except UserError as error:
        raise ValueError(str(error)) from None


def is_empty(message: Message) -> bool:
    """Whether a message says nothing and calls nothing."""
    return not (message.content or "").strip() and not message.tool_calls


def plain_message(message: Message) -> dict[str, Any]:
    """A message as JSON values, without the keys that say nothing."""
    return {key: value for key, value in to_dict(message).items() if key != "tool_calls" or value}


def plain_prompt(prompt: Prompt) -> dict[str, Any]:
    """A prompt as JSON values."""
    tools = {"tools": list(prompt.tools)} if prompt.tools else {}
    return {"messages": [plain_message(message) for message in prompt.messages], **tools}


def content_id(content: Any) -> str:
    """Name JSON values by a hash of them, the same in every run and on every machine."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:ID_LENGTH_CHARACTERS]
