"""How the assistant's tokens become a message again: the way back from the chat template."""

import json
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from codling.tokenizer.imported import TextTokenizer
from codling.tokenizer.messages import ToolCall


class MalformedCall(NamedTuple):
    """What the assistant wrote as a tool call but cannot be called."""

    text: str
    problem: str


class AssistantTurn(NamedTuple):
    """What the assistant wrote, taken apart."""

    content: str
    tool_calls: tuple[ToolCall, ...]
    malformed_calls: tuple[MalformedCall, ...]
    is_finished: bool
    """Whether it ended its turn, or was stopped before."""


def parse_assistant(tokenizer: TextTokenizer, ids: Sequence[int]) -> AssistantTurn:
    """Read what a model wrote after `<|assistant|>`, up to the end of its turn or of the document.

    A call that is no call is reported in the result; a special token out of place shows by name. An imported tokenizer
    has no calls that we could tell from text.
    """
    end = next((place for place, id in enumerate(ids) if id in tokenizer.stop_ids), None)
    parts: list[list[int]] = [[]]
    for id in ids[:end]:
        if id == tokenizer.tool_call_id:
            parts.append([])
        else:
            parts[-1].append(id)
    content, *calls = (tokenizer.decode(part, show_special=True) for part in parts)
    parsed = [_parse_call(call) for call in calls]
    return AssistantTurn(
        content=content,
        tool_calls=tuple(call for call in parsed if isinstance(call, ToolCall)),
        malformed_calls=tuple(call for call in parsed if isinstance(call, MalformedCall)),
        is_finished=end is not None,
    )


def _parse_call(text: str) -> ToolCall | MalformedCall:
    try:
        call = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        return MalformedCall(text, f"not JSON: {error}")
    if not isinstance(call, dict) or set(call) != {"name", "arguments"}:
        return MalformedCall(text, 'expected an object with the keys "name" and "arguments"')
    if not isinstance(call["name"], str) or not isinstance(call["arguments"], dict):
        return MalformedCall(text, "expected a string as name and an object as arguments")
    return ToolCall(name=call["name"], arguments=call["arguments"])


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
