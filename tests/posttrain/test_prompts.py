import pytest

from codling.errors import UserError
from codling.posttrain.prompts import content_id, plain_prompt, read_prompt

USER = {"role": "user", "content": "Set an alarm."}
CALL = {"role": "assistant", "tool_calls": [{"name": "set_alarm", "arguments": {"at": "07:00"}}]}
RESULT = {"role": "tool", "content": "done"}
TOOL = {"name": "set_alarm", "description": "Sets an alarm", "parameters": {}}


def test_openais_wrapping_is_the_same_prompt() -> None:
    flat = read_prompt({"messages": [USER, CALL, RESULT], "tools": [TOOL]}, source="x")
    arguments = '{"at": "07:00"}'
    wrapped_call = {"type": "function", "function": {"name": "set_alarm", "arguments": arguments}}
    wrapped = read_prompt(
        {
            "messages": [USER, {"role": "assistant", "content": None, "tool_calls": [wrapped_call]}, RESULT],
            "tools": [{"type": "function", "function": TOOL}],
        },
        source="x",
    )
    assert flat == wrapped
    assert flat.id == wrapped.id
    assert read_prompt(plain_prompt(flat), source="x") == flat


def test_ids_tell_prompts_apart() -> None:
    first, second = (read_prompt({"messages": [{**USER, "content": text}]}, source="x") for text in ("a", "b"))
    assert first.id != second.id
    assert content_id({"a": 1, "b": 2}) == content_id({"b": 2, "a": 1}) == "d8497d9d82770a70"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (None, "x: expected an object with messages"),
        ({}, "x: key 'messages' is missing"),
        ({"messages": []}, "x: messages: a conversation needs at least one message"),
        ({"messages": [USER, CALL]}, "x: the last message is of the assistant"),
        ({"messages": [{"role": "user", "content": "  "}]}, "x: the last message is empty"),
        ({"messages": [USER], "tool": []}, "x: unknown key 'tool'"),
        ({"messages": [CALL]}, r"x: messages\[0\]: a message of the assistant at the start"),
        ({"messages": [USER], "tools": [{}]}, r"x: tools\[0\]: a function definition needs a name"),
        ({"messages": "hello"}, "x: key 'messages'"),
    ],
)
def test_bad_prompts_are_refused_in_one_line(values: object, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        read_prompt(values, source="x")
    assert "\n" not in str(caught.value)
