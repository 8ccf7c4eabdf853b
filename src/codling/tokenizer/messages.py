"""What a conversation is made of, and what is refused.

The keys are those of the OpenAI interface, which transformers uses too, so that requests and training data
need no translation.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from codling.config import config, from_dict
from codling.errors import UserError


@config
class ToolCall:
    """One function that the assistant wants called."""

    name: str
    """The function."""
    arguments: dict[str, Any]
    """JSON values by the name of the parameter."""


@config
class Message:
    """One turn."""

    role: Literal["system", "user", "assistant", "tool"]
    """Who speaks; `tool` is the result of one call."""
    content: str | None = None
    """What is said; may be missing only where the assistant calls a tool."""
    tool_calls: tuple[ToolCall, ...] = ()
    """What the assistant wants called, after its content."""


MAY_FOLLOW: Final[Mapping[str | None, tuple[str, ...]]] = {
    None: ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("tool", "assistant"),
}
"""Which roles may come after which; None is the start of the conversation."""


def read_messages(values: Sequence[Mapping[str, Any] | Message], *, source: str = "messages") -> tuple[Message, ...]:
    """Check a conversation; `source` is how errors name it.

    A tool call may be written flat ({"name", "arguments"}) or as OpenAI does ({"type": "function",
    "function": {...}}, with the arguments as an object or as JSON in a string). Calls need not be answered,
    as many a device's action has no result, but if they are then all of them, in their order.
    Errors: `UserError` for an unknown role or key, missing content, or turns in an impossible order.
    """
    if not values:
        raise UserError(f"{source}: a conversation needs at least one message")
    messages = tuple(_read_message(value, f"{source}[{index}]") for index, value in enumerate(values))
    _check_order(messages, source)
    return messages


def read_tools(values: Sequence[Mapping[str, Any]] | None, *, source: str = "tools") -> list[dict[str, Any]]:
    """Check function definitions, flat or as OpenAI wraps them, and return them flat.

    Errors: `UserError` for a definition without a name and for a name given twice.
    """
    tools: list[dict[str, Any]] = []
    for index, value in enumerate(values or ()):
        place = f"{source}[{index}]"
        plain = _plain(value, place)
        tool = plain.get("function", plain)
        if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
            raise UserError(f'{place}: a function definition needs a name, as in {{"name": "add_event", ...}}')
        if any(tool["name"] == other["name"] for other in tools):
            raise UserError(f"{place}: the function '{tool['name']}' is defined twice, leave one")
        tools.append(tool)
    return tools


def _plain(value: Any, place: str) -> dict[str, Any]:
    """A copy made of JSON values only."""
    try:
        plain = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{place}: not JSON ({error})") from None
    if not isinstance(plain, dict):
        raise UserError(f"{place}: expected an object with keys, got {plain!r}")
    return plain


def _read_message(value: Mapping[str, Any] | Message, place: str) -> Message:
    if isinstance(value, Message):
        message = value
    else:
        # OpenAI's clients write null for what is not there.
        plain = {key: item for key, item in _plain(value, place).items() if item is not None}
        calls = plain.get("tool_calls")
        if isinstance(calls, list):
            plain["tool_calls"] = [_flat_call(call, f"{place}.tool_calls[{n}]") for n, call in enumerate(calls)]
        if plain.get("role") == "tool":
            # These tie a result to its call; here the order does.
            plain = {key: item for key, item in plain.items() if key not in ("tool_call_id", "name")}
        message = from_dict(Message, plain, source=place)
    if message.tool_calls and message.role != "assistant":
        raise UserError(f"{place}: only the assistant calls tools, this is a message of the {message.role}")
    if message.content is None and not message.tool_calls:
        raise UserError(f"{place}: the message of the {message.role} has no content, give it as a string")
    return message


def _flat_call(call: Any, place: str) -> Any:
    """Take OpenAI's wrapping off a tool call."""
    flat = call.get("function", call) if isinstance(call, dict) else call
    if isinstance(flat, dict) and isinstance(flat.get("arguments"), str):
        try:
            return {**flat, "arguments": json.loads(flat["arguments"])}
        except (ValueError, RecursionError) as error:
            raise UserError(f"{place}: the arguments are not JSON ({error})") from None
    return flat


def _check_order(messages: Sequence[Message], source: str) -> None:
    before: Message | None = None
    unanswered = 0
    for index, message in enumerate(messages):
        role = before.role if before else None
        if message.role not in MAY_FOLLOW[role]:
            after = f"after one of the {role}" if role else "at the start"
            expected = " or ".join(MAY_FOLLOW[role])
            raise UserError(f"{source}[{index}]: a message of the {message.role} {after}, expected {expected}")
        if message.role == "tool" and not unanswered:
            raise UserError(f"{source}[{index}]: a tool's result that no tool call asked for")
        if role == "tool" and message.role != "tool" and unanswered:
            raise UserError(f"{source}[{index}]: {unanswered} of the calls before lacks its result; give all or none")
        unanswered = unanswered - 1 if message.role == "tool" else len(message.tool_calls)
        before = message
