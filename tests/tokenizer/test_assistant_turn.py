import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codling.tokenizer.assistant_turn import parse_assistant
from codling.tokenizer.chat_template import encode_chat
from codling.tokenizer.encode import Tokenizer
from codling.tokenizer.messages import Message, ToolCall
from codling.tokenizer.special_tokens import END, EOS, PAD, TOOL_CALL, USER

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
CALLS = st.builds(ToolCall, name=st.text(max_size=8), arguments=st.dictionaries(st.text(max_size=4), JSON, max_size=3))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(content=st.text() | st.sampled_from(["<|tool_call|>", "<|end|>"]), calls=st.lists(CALLS, max_size=3))
def test_parsing_gives_back_what_was_encoded(tokenizer: Tokenizer, content: str, calls: list[ToolCall]) -> None:
    answer = Message(role="assistant", content=content, tool_calls=tuple(calls))
    chat = encode_chat(tokenizer, [Message(role="user", content="hi"), answer])
    written = [id for id, learned in zip(chat.ids, chat.loss_mask, strict=True) if learned]
    assert parse_assistant(tokenizer, written) == (content, tuple(calls), (), True)


def test_what_follows_the_end_is_not_part_of_the_turn(tokenizer: Tokenizer) -> None:
    turn = parse_assistant(tokenizer, [*tokenizer.encode("hi"), END.id, *tokenizer.encode("ho"), PAD.id])
    assert turn == ("hi", (), (), True)
    assert parse_assistant(tokenizer, [EOS.id]).is_finished
    assert not parse_assistant(tokenizer, tokenizer.encode("hi")).is_finished


def test_a_special_token_out_of_place_shows(tokenizer: Tokenizer) -> None:
    assert parse_assistant(tokenizer, [USER.id, *tokenizer.encode("hi")]).content == "<|user|>hi"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"name":"f","arguments":{', "not JSON"),
        ('{"name":"f","arguments":{}} ok', "not JSON"),
        ('{"name":"f","arguments":{"x":NaN}}', "not JSON: NaN is no JSON number"),
        ('{"name":"f","arguments":{"x":' + "[" * 100_000, "not JSON"),
        ('["f"]', "expected an object with the keys"),
        ('{"name":"f"}', "expected an object with the keys"),
        ('{"name":"f","arguments":{},"id":1}', "expected an object with the keys"),
        ('{"name":1,"arguments":{}}', "expected a string as name"),
        ('{"name":"f","arguments":"{}"}', "expected a string as name and an object"),
    ],
)
def test_malformed_call_is_reported_and_the_others_are_read(tokenizer: Tokenizer, text: str, problem: str) -> None:
    good = '{"name":"f","arguments":{}}'
    ids = [TOOL_CALL.id, *tokenizer.encode(text), TOOL_CALL.id, *tokenizer.encode(good), END.id]
    turn = parse_assistant(tokenizer, ids)
    assert turn.tool_calls == (ToolCall(name="f", arguments={}),)
    assert [call.text for call in turn.malformed_calls] == [text]
    assert problem in turn.malformed_calls[0].problem
