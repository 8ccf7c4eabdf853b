import pickle
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from codling.errors import UserError
from codling.tokenizer.encode import StreamDecoder, Tokenizer
from codling.tokenizer.special_tokens import BOS, EOS, FIRST_BYTE_ID, FIRST_LEARNED_ID, SPECIAL_TOKENS, USER
from codling.tokenizer.train import TokenizerConfig, train_tokenizer

AWKWARD = [
    "aaaaaaa",
    "-----",
    "  ",
    "\n\n",
    "\t",
    "\r\n",
    "\0",
    "1234",
    "🐇👨‍👩‍👧",
    "e\u0301",
    "\ufffd",
    "\ufeff",
]
RESERVED = ["\u2581", "\u2585", "<0x41>", *(token.text for token in SPECIAL_TOKENS)]
TEXTS = st.text() | st.lists(st.sampled_from([*AWKWARD, *RESERVED, "Alice", " the"]), max_size=12).map("".join)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(text=TEXTS)
def test_decoding_gives_back_the_text_and_no_text_is_special(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == tokenizer.decode(ids, show_special=True) == text
    assert all(FIRST_BYTE_ID <= id < tokenizer.vocab_size for id in ids)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=TEXTS)
def test_streamed_text_is_the_decoded_text(tokenizer: Tokenizer, text: str) -> None:
    stream = StreamDecoder(tokenizer)
    shown = ""
    for id in tokenizer.encode(text):
        shown += stream.push(id)
        assert text.startswith(shown)
    assert shown == text
    assert stream.finish() == ""


@settings(max_examples=200, deadline=None, derandomize=True)
@given(lines=st.lists(TEXTS.filter(lambda line: line and line[0] != "\n"), max_size=4))
def test_a_text_may_be_encoded_line_by_line(tokenizer: Tokenizer, lines: list[str]) -> None:
    ended = [line + "\n" for line in lines]
    assert tokenizer.encode("".join(ended)) == [id for line in ended for id in tokenizer.encode(line)]


def test_encoding_is_sentencepiece_s_own(tokenizer: Tokenizer, alice: str) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model)
    assert tokenizer.encode(alice) == processor.encode(alice)
    assert len(tokenizer.encode(alice)) < 0.5 * len(alice)


def test_unfinished_character_is_held_back(tokenizer: Tokenizer) -> None:
    stream = StreamDecoder(tokenizer)
    assert [stream.push(id) for id in tokenizer.encode("🐇")] == ["", "", "", "🐇"]
    assert stream.push(tokenizer.encode("🐇")[0]) == ""
    assert stream.finish() == "\ufffd"


def test_bytes_that_are_no_text_show_as_replacement(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode([FIRST_BYTE_ID + 0xFF, FIRST_BYTE_ID + ord("a")]) == "\ufffda"


def test_each_digit_is_a_token(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.encode("0123456789")) == 10


def test_special_tokens_are_hidden_or_shown(tokenizer: Tokenizer) -> None:
    ids = [USER.id, *tokenizer.encode("hi")]
    assert tokenizer.decode(ids) == "hi"
    assert tokenizer.decode(ids, show_special=True) == "<|user|>hi"


def test_document_has_a_start_and_an_end(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode_document("hi") == [BOS.id, *tokenizer.encode("hi"), EOS.id]
    assert tokenizer.encode_document("") == [tokenizer.bos_id, tokenizer.eos_id]


def test_every_id_has_its_bytes(tokenizer: Tokenizer) -> None:
    assert tokenizer.token_bytes[:FIRST_BYTE_ID] == tuple(token.text.encode() for token in SPECIAL_TOKENS)
    assert b"".join(tokenizer.token_bytes[FIRST_BYTE_ID:FIRST_LEARNED_ID]) == bytes(range(256))


def test_identity_is_the_model_s(tokenizer: Tokenizer, alice: str) -> None:
    other = Tokenizer.from_bytes(train_tokenizer([alice], TokenizerConfig(vocab_size=400)))
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy == tokenizer
    assert copy.sha256 == tokenizer.sha256 != other.sha256
    assert copy.encode(alice) == tokenizer.encode(alice) != other.encode(alice)
    assert tokenizer != other


def test_load_reads_what_was_written(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(tokenizer.model)
    assert Tokenizer.load(tmp_path) == tokenizer


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tokenizer\.model: no such file"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
def test_damaged_file_is_named(tokenizer: Tokenizer, tmp_path: Path, keep: float) -> None:
    (tmp_path / "tokenizer.model").write_bytes(tokenizer.model[: int(keep * len(tokenizer.model))])
    with pytest.raises(UserError, match=r"tokenizer\.model: not a SentencePiece model, or a damaged one"):
        Tokenizer.load(tmp_path)


def test_model_of_another_house_is_refused(alice: str) -> None:
    import io

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([alice[:3000]]),
        model_writer=model,
        vocab_size=100,
        model_type="bpe",
        minloglevel=2,
    )
    with pytest.raises(UserError, match="not one trained by codling"):
        Tokenizer.from_bytes(model.getvalue())


def test_lone_surrogate_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match="lone surrogate at character 2"):
        tokenizer.encode("ab\ud800")


@pytest.mark.parametrize("id", [-1, 600])
def test_unknown_id_is_refused(tokenizer: Tokenizer, id: int) -> None:
    with pytest.raises(UserError, match=f"token id {id}: this tokenizer's ids run from 0 to 599"):
        tokenizer.decode([id])
