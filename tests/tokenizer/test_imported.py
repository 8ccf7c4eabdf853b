"""Somebody else's tokenizer, against the library that it was written for."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models
from transformers import PreTrainedTokenizerFast

from codling.errors import UserError
from codling.tokenizer.encode import StreamDecoder, Tokenizer
from codling.tokenizer.hf_files import tokenizer_files
from codling.tokenizer.imported import GENERATION_FILE, IMPORTED_FILE, ImportedTokenizer, byte_alphabet
from tests.foreign_checkpoint import END_OF_TEXT, IM_END, IM_START, NUM_ROWS, NUM_TOKENS, SPECIAL, train_byte_level

AWKWARD = ["a", " ", "\n", "\0", "🐇", "e\u0301", "\u2581", "日本", "1234", "don't", "\x85", "\ufffd"]
TEXTS = st.text() | st.lists(st.sampled_from([*AWKWARD, "Alice", " the"])).map("".join)
GENERATION = {"eos_token_id": [IM_END, END_OF_TEXT], "bos_token_id": END_OF_TEXT}


def files_of(encoder: tokenizers.Tokenizer, generation: Mapping[str, Any] = GENERATION) -> dict[str, bytes]:
    return {IMPORTED_FILE: encoder.to_str().encode(), GENERATION_FILE: json.dumps(generation).encode()}


def build(encoder: tokenizers.Tokenizer, vocab_size: int = NUM_ROWS) -> ImportedTokenizer:
    return ImportedTokenizer.from_files(files_of(encoder), vocab_size=vocab_size, source="here")


@pytest.fixture(scope="module")
def encoder() -> tokenizers.Tokenizer:
    return train_byte_level()


@pytest.fixture(scope="module")
def imported(encoder: tokenizers.Tokenizer) -> ImportedTokenizer:
    return build(encoder)


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_any_text_comes_back(imported: ImportedTokenizer, text: str) -> None:
    assert imported.decode(imported.encode(text)) == text


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_ids_are_those_of_transformers(imported: ImportedTokenizer, encoder: tokenizers.Tokenizer, text: str) -> None:
    theirs = PreTrainedTokenizerFast(tokenizer_object=encoder)
    assert imported.encode(text) == theirs(text, add_special_tokens=False)["input_ids"]


def test_a_tokenizer_that_begins_every_text_is_known_by_it(imported: ImportedTokenizer) -> None:
    begun = train_byte_level(begins=True)
    assert imported.begin_ids == ()
    assert build(begun).begin_ids == (END_OF_TEXT,)
    theirs = PreTrainedTokenizerFast(tokenizer_object=begun)
    assert [*build(begun).begin_ids, *build(begun).encode("Alice")] == theirs("Alice")["input_ids"]


def test_the_name_of_a_special_token_in_a_text_is_text(imported: ImportedTokenizer) -> None:
    ids = imported.encode("a" + "".join(SPECIAL))
    assert not imported.special_ids & set(ids)
    assert imported.decode(ids) == "a" + "".join(SPECIAL)


def test_special_tokens_are_hidden_or_shown_by_name(imported: ImportedTokenizer) -> None:
    ids = [IM_START, *imported.encode("hi"), IM_END]
    assert imported.special_ids == {END_OF_TEXT, IM_START, IM_END}
    assert imported.decode(ids) == "hi"
    assert imported.decode(ids, show_special=True) == "<|im_start|>hi<|im_end|>"


def test_an_added_token_that_is_not_special_is_text() -> None:
    encoder = train_byte_level()
    encoder.add_tokens(["<think>"])
    ids = build(encoder).encode("a<think>b")
    assert NUM_TOKENS in ids
    assert build(encoder).decode(ids) == "a<think>b"


def test_it_streams_as_the_bytes_arrive(imported: ImportedTokenizer) -> None:
    ids = imported.encode("a🐇")
    stream = StreamDecoder(imported)
    pieces = [stream.push(id) for id in ids]
    assert pieces[0] == "a"
    assert pieces[1:] == ["", "", "", "🐇"]


def test_rows_of_the_embedding_without_a_token_say_nothing(imported: ImportedTokenizer) -> None:
    assert imported.vocab_size == NUM_ROWS
    assert imported.decode([NUM_TOKENS, NUM_ROWS - 1], show_special=True) == ""
    with pytest.raises(UserError, match=f"token id {NUM_ROWS}"):
        imported.decode([NUM_ROWS])


def test_roles_come_from_the_generation_config(imported: ImportedTokenizer) -> None:
    assert imported.roles == (END_OF_TEXT, (IM_END, END_OF_TEXT), None)
    assert imported.stop_ids == (IM_END, END_OF_TEXT)
    assert imported.tool_call_id is None


def test_what_cuts_rows_in_training_cuts_no_text() -> None:
    encoder = train_byte_level()
    encoder.enable_truncation(3)
    encoder.enable_padding(length=8)
    assert build(encoder).decode(build(encoder).encode("a longer text")) == "a longer text"


def test_byte_fallback_with_marks_for_spaces() -> None:
    """Llama 2's kind: pieces with U+2581, and bytes by name."""
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", "a", "\u2581a"]
    vocab = {piece: id for id, piece in enumerate(pieces)}
    encoder = tokenizers.Tokenizer(models.BPE(vocab, [("\u2581", "a")], unk_token="<unk>", byte_fallback=True))
    encoder.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    imported = build(encoder, len(pieces))
    assert imported.decode(imported.encode("\u2581a€a")) == " a€a"


def test_our_own_files_read_as_our_own_tokenizer(tokenizer: Tokenizer) -> None:
    content = tokenizer_files(tokenizer, 100)[IMPORTED_FILE]
    files = {IMPORTED_FILE: content, GENERATION_FILE: b'{"eos_token_id": 2}'}
    imported = ImportedTokenizer.from_files(files, vocab_size=tokenizer.vocab_size, source="here")
    assert imported.token_bytes == tokenizer.token_bytes
    assert imported.special_ids == set(tokenizer.special_ids)
    assert imported.encode("Alice \u2581🐇") == tokenizer.encode("Alice \u2581🐇")


def test_the_byte_alphabet_has_a_letter_for_every_byte() -> None:
    assert sorted(byte_alphabet().values()) == list(range(256))
    assert (byte_alphabet()["a"], byte_alphabet()["Ġ"], byte_alphabet()["Ċ"]) == (ord("a"), ord(" "), ord("\n"))


def test_it_is_loaded_from_a_directory_with_what_belongs_to_it(tmp_path: Path, imported: ImportedTokenizer) -> None:
    for name, content in imported.files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    loaded = ImportedTokenizer.load(tmp_path, NUM_ROWS)
    assert loaded.sha256 == imported.sha256
    assert loaded.files["chat_template.jinja"] == b"{{ messages }}"


@pytest.mark.parametrize("name", [IMPORTED_FILE, GENERATION_FILE])
def test_a_missing_file_is_named(tmp_path: Path, imported: ImportedTokenizer, name: str) -> None:
    for other in imported.files.keys() - {name}:
        (tmp_path / other).write_bytes(imported.files[other])
    with pytest.raises(UserError, match=f"{name}: no such file"):
        ImportedTokenizer.load(tmp_path, NUM_ROWS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({IMPORTED_FILE: b"{"}, "here/tokenizer.json: not readable as a tokenizer"),
        ({IMPORTED_FILE: b"{}"}, "here/tokenizer.json: not readable as a tokenizer"),
        ({IMPORTED_FILE: b"\xff"}, "here/tokenizer.json: not readable as a tokenizer"),
        ({GENERATION_FILE: b"{"}, "here/generation_config.json: not JSON"),
        ({GENERATION_FILE: b"[]"}, "here/generation_config.json: not a JSON object"),
        ({GENERATION_FILE: b"{}"}, "names no eos_token_id"),
        ({GENERATION_FILE: b'{"eos_token_id": []}'}, "names no eos_token_id"),
        ({GENERATION_FILE: b'{"eos_token_id": 330}'}, "eos_token_id 330 is no token of this model"),
        ({GENERATION_FILE: b'{"eos_token_id": "</s>"}'}, "eos_token_id '</s>' is no token"),
        ({GENERATION_FILE: b'{"eos_token_id": 1, "bos_token_id": true}'}, "bos_token_id True is no token"),
    ],
)
def test_damaged_files_are_refused(imported: ImportedTokenizer, changes: dict[str, bytes], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ImportedTokenizer.from_files({**imported.files, **changes}, vocab_size=NUM_ROWS, source="here")


def test_more_tokens_than_rows_are_refused(encoder: tokenizers.Tokenizer) -> None:
    with pytest.raises(UserError, match="has tokens up to id 319, the embedding has 319 rows only"):
        build(encoder, NUM_TOKENS - 1)


@pytest.mark.parametrize("decoder", [None, decoders.WordPiece()])
def test_tokens_that_are_spelled_in_another_way_are_refused(decoder: Any) -> None:
    encoder = train_byte_level()
    if decoder is not None:
        encoder.decoder = decoder
        kind = "WordPiece"
    else:
        encoder, kind = tokenizers.Tokenizer(models.BPE({"a": 0}, [])), "none"
    with pytest.raises(UserError, match=rf"its decoder \({kind}\) is not supported"):
        build(encoder)


def test_a_lone_surrogate_is_refused(imported: ImportedTokenizer) -> None:
    with pytest.raises(UserError, match="lone surrogate at character 1"):
        imported.encode("a\udcff")
