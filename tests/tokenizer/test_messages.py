from typing import Any

import pytest

from codling.errors import UserError
from codling.tokenizer.messages import Message, ToolCall, read_messages, read_tools

USER = {"role": "user", "content": "hi"}
ASSISTANT = {"role": "assistant", "content": "hello"}
CALL = {"name": "add_event", "arguments": {"title": "tea"}}
CALLS = {"role": "assistant", "tool_calls": [CALL]}
RESULT = {"role": "tool", "content": "done"}


def test_reading_twice_changes_nothing() -> None:
    messages = read_messages([{"role": "system", "content": "be kind"}, USER, CALLS, RESULT, ASSISTANT])
    assert read_messages(messages) == messages
    assert messages[2] == Message(
        role="assistant", tool_calls=(ToolCall(name="add_event", arguments={"title": "tea"}),)
    )


@pytest.mark.parametrize(
    "call",
    [
        CALL,
        {"type": "function", "function": CALL},
        {"id": "c1", "type": "function", "function": {"name": "add_event", "arguments": '{"title": "tea"}'}},
    ],
)
def test_ways_to_write_a_call(call: dict[str, Any]) -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert read_messages([USER, message]) == read_messages([USER, CALLS])


def test_what_openai_clients_add_is_understood() -> None:
    answer = {**ASSISTANT, "tool_calls": None, "refusal": None}
    result = {**RESULT, "tool_call_id": "c1", "name": "add_event"}
    assert read_messages([USER, CALLS, result, answer]) == read_messages([USER, CALLS, RESULT, ASSISTANT])


@pytest.mark.parametrize("value", [CALL, {"type": "function", "function": CALL}])
def test_ways_to_write_a_tool(value: dict[str, Any]) -> None:
    assert read_tools([value]) == [CALL]


def test_no_tools() -> None:
    assert read_tools(None) == read_tools([]) == []


@pytest.mark.parametrize(
    "messages",
    [
        [USER],
        [USER, ASSISTANT, USER],
        [USER, {**CALLS, "tool_calls": [CALL, CALL]}, RESULT, RESULT, ASSISTANT],
        [USER, CALLS, USER],  # An action on a device often has no result.
        [USER, CALLS, RESULT, CALLS, RESULT, ASSISTANT],
        [USER, {"role": "assistant", "content": ""}],
    ],
)
def test_possible_conversations(messages: list[dict[str, Any]]) -> None:
    assert len(read_messages(messages)) == len(messages)


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([], "messages: a conversation needs at least one message"),
        ([{"role": "critic", "content": "boo"}], r"messages\[0\]: key 'role'"),
        ([{**USER, "mood": "sad"}], "unknown key 'mood'"),
        ([{"content": "hi"}], "key 'role' is missing"),
        ([{"role": "user"}], r"messages\[0\]: the message of the user has no content"),
        ([USER, {"role": "assistant"}], r"messages\[1\]: the message of the assistant has no content"),
        ([{"role": "user", "content": ["hi"]}], "key 'content'"),
        ([{"role": "user", "content": {1, 2}}], r"messages\[0\]: not JSON"),
        ([RESULT], r"messages\[0\]: a message of the tool at the start, expected system or user"),
        ([ASSISTANT], "a message of the assistant at the start"),
        ([USER, USER], r"messages\[1\]: a message of the user after one of the user, expected assistant"),
        ([USER, {"role": "system", "content": "x"}], "a message of the system after one of the user"),
        ([USER, ASSISTANT, ASSISTANT], "after one of the assistant, expected user or tool"),
        ([USER, ASSISTANT, RESULT], r"messages\[2\]: a tool's result that no tool call asked for"),
        ([USER, CALLS, RESULT, RESULT], r"messages\[3\]: a tool's result that no tool call asked for"),
        (
            [USER, {**CALLS, "tool_calls": [CALL, CALL]}, RESULT, ASSISTANT],
            "1 of the calls before lacks its result",
        ),
        ([{**CALLS, "role": "user"}], "only the assistant calls tools"),
        ([USER, {**CALLS, "tool_calls": ["add_event"]}], r"tool_calls\.0"),
        ([USER, {**CALLS, "tool_calls": [{"name": "f"}]}], r"'tool_calls\.0\.arguments' is missing"),
        (
            [USER, {**CALLS, "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}],
            r"messages\[1\]\.tool_calls\[0\]: the arguments are not JSON",
        ),
        ([USER, {**CALLS, "tool_calls": [{"name": "f", "arguments": {"x": float("nan")}}]}], "not JSON"),
    ],
)
def test_impossible_conversations_are_refused(messages: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        read_messages(messages)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tools", "problem"),
    [
        ([{"description": "x"}], r"tools\[0\]: a function definition needs a name"),
        ([{"function": "f"}], r"tools\[0\]: a function definition needs a name"),
        ([CALL, CALL], r"tools\[1\]: the function 'add_event' is defined twice"),
        ([{"name": b"f"}], r"tools\[0\]: not JSON"),
    ],
)
def test_impossible_tools_are_refused(tools: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        read_tools(tools)
