"""What a GGUF file says of a tokenizer, spelled out by a few lines that read it as llama.cpp does."""

import json
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import regex
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import normalizers, pre_tokenizers

from codling.artifact.bundle import load_bundle
from codling.artifact.gguf_tokenizer import (
    GPT2_SPLIT,
    LLAMA3_SPLIT,
    QWEN2_SPLIT,
    SPLIT_NAMES,
    GgufTokenizer,
    TokenKind,
    gguf_tokenizer,
    split_name,
)
from codling.errors import UserError
from codling.tokenizer.chat_template import CHAT_TEMPLATE
from codling.tokenizer.imported import GENERATION_FILE, IMPORTED_FILE, ImportedTokenizer, byte_alphabet
from tests import foreign_checkpoint
from tests.foreign_checkpoint import END_OF_TEXT, IM_END, IM_START, NUM_ROWS, NUM_TOKENS, train_byte_level

AWKWARD = ["a", " ", "   ", "\n", "\r\n", "\0", "🐇", "日本", "1234", "don't", "\x85", "Alice", " the", "--"]
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581")) | st.lists(
    st.sampled_from(AWKWARD)
).map("".join)


def join_by(symbols: list[str], rank: Any) -> list[str]:
    """Join the neighbors of the lowest rank, the leftmost first, until none has one."""
    while True:
        ranks = [rank(left, right) for left, right in pairwise(symbols)]
        best = min((r for r in ranks if r is not None), default=None)
        if best is None:
            return symbols
        place = ranks.index(best)
        symbols = [*symbols[:place], symbols[place] + symbols[place + 1], *symbols[place + 2 :]]


def spell_llama(tokenizer: GgufTokenizer, text: str) -> list[int]:
    """SentencePiece as llama.cpp has it: joined by score, bytes where there is no piece."""
    assert tokenizer.scores is not None
    ids = {token: id for id, token in enumerate(tokenizer.tokens)}
    scores = tokenizer.scores

    def rank(left: str, right: str) -> float | None:
        return -scores[ids[left + right]] if left + right in ids else None

    symbols = join_by(list(text.replace(" ", "\u2581")), rank)
    return [
        id
        for symbol in symbols
        for id in ([ids[symbol]] if symbol in ids else [ids[f"<0x{byte:02X}>"] for byte in symbol.encode()])
    ]


def spell_gpt2(tokenizer: GgufTokenizer, text: str) -> list[int]:
    """Byte-level BPE as llama.cpp has it: words by the split of that name, then joined by merge."""
    assert tokenizer.merges is not None
    ids = {token: id for id, token in enumerate(tokenizer.tokens)}
    ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(tokenizer.merges)}
    letters = {byte: letter for letter, byte in byte_alphabet().items()}
    (splits,) = [splits for splits, name in SPLIT_NAMES.items() if name == tokenizer.pre]
    words = [text]
    for split in splits:
        words = [part for word in words for part in cut(split, word)]
    spelled = ["".join(letters[byte] for byte in word.encode()) for word in words]

    def join(word: str) -> list[str]:
        is_whole = tokenizer.pre == "llama-bpe" and word in ids
        return [word] if is_whole else join_by(list(word), lambda *pair: ranks.get(pair))

    return [ids[symbol] for word in spelled for symbol in join(word)]


def cut(split: str, text: str) -> list[str]:
    """The matches, and what is left between them."""
    parts, end = [], 0
    for found in regex.finditer(split, text):
        parts += [text[end : found.start()], found[0]]
        end = found.end()
    return [part for part in [*parts, text[end:]] if part]


def imported(encoder: tokenizers.Tokenizer, **more: Any) -> ImportedTokenizer:
    generation = {"eos_token_id": [IM_END, END_OF_TEXT], **more.pop("generation", {})}
    files = {IMPORTED_FILE: encoder.to_str().encode(), GENERATION_FILE: json.dumps(generation).encode(), **more}
    return ImportedTokenizer.from_files(files, vocab_size=NUM_ROWS, source="here")


@cache
def their_encoder(name: str) -> tokenizers.Tokenizer:
    (splits,) = [splits for splits, known in SPLIT_NAMES.items() if known == name]
    encoder = train_byte_level()
    steps: list[Any] = [
        pre_tokenizers.Digits(individual_digits=True)
        if split == r"\p{N}"
        else pre_tokenizers.Split(tokenizers.Regex(split), "isolated")
        for split in splits
        if split != GPT2_SPLIT
    ]
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=GPT2_SPLIT in splits))
    encoder.pre_tokenizer = pre_tokenizers.Sequence(steps)
    encoder.model.ignore_merges = name == "llama-bpe"
    return encoder


@settings(max_examples=60, deadline=None)
@given(TEXTS)
@example("".join(AWKWARD))
def test_our_own_text_is_spelled_in_the_same_ids(pair: Any, text: str) -> None:
    assert spell_llama(gguf_tokenizer(pair.tokenizer), text) == pair.tokenizer.encode(text)


@pytest.mark.parametrize("name", SPLIT_NAMES.values())
@settings(max_examples=40, deadline=None)
@given(TEXTS)
@example("".join(AWKWARD))
def test_their_text_is_spelled_in_the_same_ids(name: str, text: str) -> None:
    tokenizer = imported(their_encoder(name))
    assert gguf_tokenizer(tokenizer).pre == name
    assert spell_gpt2(gguf_tokenizer(tokenizer), text) == tokenizer.encode(text)


def test_our_own_tokens_are_of_every_kind(pair: Any) -> None:
    told = gguf_tokenizer(pair.tokenizer)
    assert (told.model, told.pre, told.chat_template) == ("llama", "default", CHAT_TEMPLATE)
    assert told.tokens[:4] == ["<unk>", "<s>", "</s>", "<pad>"]
    assert told.kinds[:2] == [TokenKind.UNKNOWN, TokenKind.CONTROL]
    assert told.kinds[19:276] == [TokenKind.BYTE] * 256 + [TokenKind.NORMAL]
    assert set(told.kinds[1:19]) == {TokenKind.CONTROL}
    assert (told.bos_id, told.eos_id, told.eot_id, told.unk_id, told.pad_id, told.adds_bos) == (1, 2, 10, 0, 3, True)


def test_their_tokens_are_of_every_kind() -> None:
    encoder = train_byte_level()
    encoder.add_tokens(["<think>"])
    told = gguf_tokenizer(imported(encoder))
    assert (told.model, told.pre, told.scores) == ("gpt2", "qwen2", None)
    assert told.tokens[IM_START] == "<|im_start|>"
    assert told.kinds[IM_START] is TokenKind.CONTROL
    assert told.kinds[NUM_TOKENS] is TokenKind.USER_DEFINED
    assert told.kinds[NUM_TOKENS - 1] is TokenKind.NORMAL
    assert (told.tokens[-1], told.kinds[-1]) == ("[PAD329]", TokenKind.UNUSED)
    assert len(told.tokens) == len(set(told.tokens)) == NUM_ROWS
    assert (told.bos_id, told.eos_id, told.eot_id, told.adds_bos) == (None, IM_END, END_OF_TEXT, False)


def test_their_start_token_is_told() -> None:
    told = gguf_tokenizer(imported(train_byte_level(begins=True), generation={"eos_token_id": IM_END}))
    assert (told.bos_id, told.eot_id, told.adds_bos) == (END_OF_TEXT, None, True)


@pytest.mark.parametrize(
    ("files", "template"),
    [
        ({}, None),
        ({"tokenizer_config.json": b"{}"}, None),
        ({"tokenizer_config.json": b'{"chat_template": "one"}'}, "one"),
        ({"tokenizer_config.json": b'{"chat_template": [{"name": "default", "template": "two"}]}'}, "two"),
        ({"tokenizer_config.json": b'{"chat_template": "one"}', "chat_template.jinja": b"three"}, "three"),
    ],
)
def test_their_chat_template_is_found(files: dict[str, bytes], template: str | None) -> None:
    assert gguf_tokenizer(imported(train_byte_level(), **files)).chat_template == template


def test_merges_may_be_written_in_two_ways(foreign: Any) -> None:
    tokenizer = load_bundle(foreign.bundle).tokenizer
    assert isinstance(tokenizer, ImportedTokenizer)
    content = json.loads(tokenizer.files[IMPORTED_FILE])
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    older = imported(tokenizers.Tokenizer.from_str(json.dumps(content)))
    assert gguf_tokenizer(older).merges == gguf_tokenizer(tokenizer).merges


def test_the_split_that_the_tests_use_is_qwens() -> None:
    assert foreign_checkpoint.QWEN2_SPLIT == QWEN2_SPLIT != LLAMA3_SPLIT


@pytest.mark.parametrize("normalizer", [None, normalizers.NFC()])
def test_composition_at_most_goes_before_a_split(normalizer: Any) -> None:
    encoder = train_byte_level()
    if normalizer is not None:
        encoder.normalizer = normalizer
    assert split_name(json.loads(encoder.to_str())) == "qwen2"


def set_normalizer(encoder: tokenizers.Tokenizer) -> None:
    encoder.normalizer = normalizers.Lowercase()


def set_prefix_space(encoder: tokenizers.Tokenizer) -> None:
    encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)


def set_split(encoder: tokenizers.Tokenizer) -> None:
    encoder.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(False)])


def set_no_bytes(encoder: tokenizers.Tokenizer) -> None:
    encoder.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(QWEN2_SPLIT), "isolated")


@pytest.mark.parametrize("change", [set_normalizer, set_prefix_space, set_split, set_no_bytes])
def test_a_split_without_a_name_is_refused(change: Any) -> None:
    encoder = train_byte_level()
    change(encoder)
    with pytest.raises(UserError, match=r"tokenizer.json: splits text in a way that we have no llama.cpp name for"):
        gguf_tokenizer(imported(encoder))


def test_a_name_that_takes_whole_words_differs_from_one_that_does_not() -> None:
    encoder = train_byte_level()
    encoder.model.ignore_merges = True
    with pytest.raises(UserError, match=r"ignore_merges is True, which llama\.cpp's qwen2 is not"):
        gguf_tokenizer(imported(encoder))


def test_what_is_not_byte_level_is_refused() -> None:
    content = json.loads(train_byte_level().to_str())
    for changes in ({"byte_fallback": True}, {"end_of_word_suffix": "</w>"}, {"type": "Unigram"}):
        with pytest.raises(UserError, match="not byte-level BPE"):
            split_name(content | {"model": content["model"] | changes})
