import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codling.errors import UserError
from codling.tokenizer.chat_template import CHAT_TEMPLATE, SPECIAL_TEXT, EncodedChat, check_template, encode_chat
from codling.tokenizer.encode import Tokenizer
from codling.tokenizer.hf_files import tokenizer_files
from codling.tokenizer.imported import GENERATION_FILE, ImportedTokenizer
from codling.tokenizer.special_tokens import END, SPECIAL_TOKENS, TOOL_CALL, USER

CALL = {"name": "add", "arguments": {"day": "5 May", "who": ["Zoë"]}}
TOOL = {"name": "add", "description": "Adds an event.", "parameters": {"type": "object", "properties": {}}}
SPECIAL = [token.text for token in SPECIAL_TOKENS]
TEXTS = st.text() | st.lists(st.sampled_from([*SPECIAL, "\ue000", "<", "|end|>", "<|end", " "]), max_size=8).map(
    "".join
)


def shown(tokenizer: Tokenizer, chat: EncodedChat) -> str:
    """The chat as text, with what the assistant writes in square brackets."""
    tokens = zip(chat.loss_mask, chat.ids, strict=True)
    runs = [
        (learned, tokenizer.decode([id for _, id in run], show_special=True))
        for learned, run in itertools.groupby(tokens, key=lambda token: token[0])
    ]
    return "".join(f"[{text}]" if learned else text for learned, text in runs)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(system=TEXTS, question=TEXTS, answer=TEXTS, key=TEXTS)
def test_nothing_that_is_said_becomes_a_special_token(
    tokenizer: Tokenizer, system: str, question: str, answer: str, key: str
) -> None:
    call = {"name": question, "arguments": {key: [answer]}}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": system},
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer, "tool_calls": [call]},
        {"role": "tool", "content": answer},
    ]
    chat = encode_chat(tokenizer, messages, [{"name": question, key: answer}])
    special = [id for id in chat.ids if id < len(SPECIAL_TOKENS)]
    assert "".join(SPECIAL[id] for id in special) == (
        "<s><|system|><|tools|><|end|><|user|><|end|><|assistant|><|tool_call|><|end|><|tool|><|end|>"
    )
    text = tokenizer.decode(chat.ids)
    definition = json.dumps([{"name": question, key: answer}], ensure_ascii=False, separators=(",", ":"))
    written = json.dumps(call, ensure_ascii=False, separators=(",", ":"))
    assert text == system + definition + question + answer + written + answer


@settings(max_examples=100, deadline=None, derandomize=True)
@given(question=TEXTS, answer=TEXTS)
def test_a_conversation_continues_its_prompt(tokenizer: Tokenizer, question: str, answer: str) -> None:
    asked = [{"role": "user", "content": question}]
    prompt = encode_chat(tokenizer, asked, add_generation_prompt=True)
    whole = encode_chat(tokenizer, [*asked, {"role": "assistant", "content": answer}])
    assert whole.ids == [*prompt.ids, *tokenizer.encode(answer), END.id]
    assert whole.loss_mask == [False] * len(prompt.ids) + [True] * (len(whole.ids) - len(prompt.ids))


def test_layout_and_what_is_learned(tokenizer: Tokenizer) -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Party!\n"},
        {"role": "assistant", "content": "Yes.", "tool_calls": [CALL, CALL]},
        {"role": "tool", "content": "ok"},
        {"role": "tool", "content": ""},
        {"role": "assistant", "content": "Done."},
    ]
    call = '<|tool_call|>{"name":"add","arguments":{"day":"5 May","who":["Zoë"]}}'
    assert shown(tokenizer, encode_chat(tokenizer, messages)) == (
        "<s><|system|>Be brief.<|end|><|user|>Party!\n<|end|>"
        f"<|assistant|>[Yes.{call}{call}<|end|>]<|tool|>ok<|end|><|tool|><|end|><|assistant|>[Done.<|end|>]"
    )


def test_tools_stand_in_the_system_turn(tokenizer: Tokenizer) -> None:
    asked = [{"role": "user", "content": "hi"}]
    tools = (
        '<|tools|>[{"name":"add","description":"Adds an event.",'
        '"parameters":{"type":"object","properties":{}}},{"name":"sub"}]'
    )
    chat = encode_chat(tokenizer, asked, [TOOL, {"name": "sub"}], add_generation_prompt=True)
    assert shown(tokenizer, chat) == f"<s><|system|>{tools}<|end|><|user|>hi<|end|><|assistant|>"
    chat = encode_chat(tokenizer, [{"role": "system", "content": "Be."}, *asked], [TOOL, {"name": "sub"}])
    assert shown(tokenizer, chat) == f"<s><|system|>Be.{tools}<|end|><|user|>hi<|end|>"


def test_openai_s_wrapping_changes_nothing(tokenizer: Tokenizer) -> None:
    def chat(call: dict[str, Any], tool: dict[str, Any]) -> EncodedChat:
        messages: list[dict[str, Any]] = [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "tool_calls": [call]},
        ]
        return encode_chat(tokenizer, messages, [tool])

    as_string = {"name": "add", "arguments": json.dumps(CALL["arguments"])}
    flat = chat(CALL, TOOL)
    assert flat == chat({"type": "function", "function": CALL}, {"type": "function", "function": TOOL})
    assert flat == chat({"id": "1", "type": "function", "function": as_string}, TOOL)
    assert TOOL_CALL.id in flat.ids


def test_template_names_only_tokens_of_the_table() -> None:
    names = set(SPECIAL_TEXT.findall(CHAT_TEMPLATE))
    assert names == set(SPECIAL[4:11])
    assert CHAT_TEMPLATE.count("<|") == sum(CHAT_TEMPLATE.count(name) for name in names)


def test_no_white_space_is_added(tokenizer: Tokenizer) -> None:
    chat = encode_chat(tokenizer, [{"role": "user", "content": ""}], add_generation_prompt=True)
    assert [SPECIAL[id] for id in chat.ids] == ["<s>", "<|user|>", "<|end|>", "<|assistant|>"]
    assert USER.id in chat.ids


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}],
        [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [CALL]}],
        [{"role": "system", "content": "Be brief."}],
    ],
)
def test_speaking_out_of_turn_is_refused(tokenizer: Tokenizer, messages: list[dict[str, Any]]) -> None:
    encode_chat(tokenizer, messages)
    with pytest.raises(UserError, match=r"messages\[\d\]: the assistant can only answer a user or a tool"):
        encode_chat(tokenizer, messages, add_generation_prompt=True)


def test_impossible_conversation_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match=r"messages\[0\]: a message of the tool at the start"):
        encode_chat(tokenizer, [{"role": "tool", "content": "5"}])


def test_an_imported_tokenizer_has_another_template(tokenizer: Tokenizer) -> None:
    files = tokenizer_files(tokenizer, 100) | {GENERATION_FILE: b'{"eos_token_id": 2}'}
    imported = ImportedTokenizer.from_files(files, vocab_size=tokenizer.vocab_size, source="here")
    check_template(tokenizer)
    with pytest.raises(UserError, match="codling's chat template does not fit"):
        encode_chat(imported, [{"role": "user", "content": "hi"}])
