"""Trains the tokenizer: SentencePiece BPE over a sample of the corpus.

In the recipe this is the first stage; everything after it sees token ids only.

Source: arXiv 2407.21075 §3.1: BPE by SentencePiece, every digit a token of its own, byte fallback, no Unicode
normalization. Ours: spaces and line breaks are kept exactly (no dummy prefix, nothing collapsed) and pieces
may consist of spaces, so that code costs few tokens and decoding gives back what was encoded; lines are
learned one by one. A digit is what SentencePiece takes for one: 0 to 9, plain or full-width, not those of
other scripts.
"""

import io
import re
from collections.abc import Iterable
from typing import Annotated, Final

import pydantic
import sentencepiece

from codling.config import config
from codling.errors import UserError
from codling.tokenizer.special_tokens import BOS, EOS, FIRST_LEARNED_ID, PAD, SPECIAL_TOKENS, UNK

MAX_SENTENCE_BYTES: Final = 2**30
"""SentencePiece's own upper limit. It drops longer sentences with no more than a line in its log."""
UNTRAINABLE: Final = re.compile("[\u2581\u2585]+")
"""SentencePiece spells a space as U+2581 and an unknown character as U+2585: the first would be counted as a
space, the second makes it drop the sentence. Encoding spells both in bytes, so there is nothing to learn of
them."""
LINES: Final = re.compile(r"[^\n]*\n+|[^\n]+")
"""A line with the line breaks after it."""


@config
class TokenizerConfig:
    """What the tokenizer stage needs to know."""

    vocab_size: Annotated[int, pydantic.Field(gt=FIRST_LEARNED_ID)]
    """Pieces, the special tokens and bytes among them. arXiv 2407.21075 §3.1: 49k (device), 100k (server)."""
    character_coverage: Annotated[float, pydantic.Field(ge=0.98, le=1.0)] = 0.9995
    """Share of the corpus' characters that get a piece of their own, the others are spelled in bytes. Unknown
    in the report; this is SentencePiece's default."""
    max_piece_length: Annotated[int, pydantic.Field(ge=1, le=512)] = 16
    """Characters in the longest piece. Unknown in the report; this is SentencePiece's default."""


def train_tokenizer(texts: Iterable[str], config: TokenizerConfig) -> bytes:
    """Learn a vocabulary from `texts`; all of them are held in memory, so pass a sample of a large corpus.

    Returns: a serialized SentencePiece model. The same texts and configuration give the same bytes: there is
    one thread, nothing is sampled, and neither a path nor a date goes into the model.
    Errors: `UserError` for a corpus without text or too small for the vocabulary, and for a vocabulary too
    small for the corpus.
    """
    sentences = _sentences(texts)
    if not sentences:
        raise UserError("tokenizer: the corpus holds no text, give it at least one document that is not blank")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="bpe",
            vocab_size=config.vocab_size,
            character_coverage=config.character_coverage,
            max_sentencepiece_length=config.max_piece_length,
            max_sentence_length=MAX_SENTENCE_BYTES,
            shuffle_input_sentence=False,
            num_threads=1,
            split_digits=True,
            byte_fallback=True,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            unk_id=UNK.id,
            bos_id=BOS.id,
            eos_id=EOS.id,
            pad_id=PAD.id,
            control_symbols=[token.text for token in SPECIAL_TOKENS[PAD.id + 1 :]],
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _explain(error, config) from None
    return model.getvalue()


def _sentences(texts: Iterable[str]) -> list[str]:
    """What SentencePiece is shown: one line at a time, so that no piece reaches from one line into the next.

    Against whole documents this costs 0.1% to 0.5% more tokens, frees the vocabulary of pieces such as full
    stop + blank line + quotation mark, and lets a text be encoded line by line. The space at the end of each
    keeps SentencePiece from stripping the line breaks; a space starts a new word, so nothing is learned from
    it.
    """
    sentences: list[str] = []
    for index, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UserError(
                f"tokenizer: text {index} of the corpus is no valid Unicode, it holds a lone surrogate"
            ) from None
        if text.strip():
            sentences += [line + " " for line in LINES.findall(UNTRAINABLE.sub(" ", text))]
    return sentences


def _explain(error: RuntimeError, config: TokenizerConfig) -> UserError:
    message = str(error)
    if found := re.search(r"set it to a value <= (\d+)", message):
        return UserError(
            f"tokenizer: the corpus is too small for vocab_size = {config.vocab_size}, "
            f"set it to {found[1]} at most or give more text"
        )
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return UserError(
            f"tokenizer: vocab_size = {config.vocab_size} cannot hold the corpus' characters, "
            f"set it to {found[1]} at least or lower character_coverage"
        )
    return UserError(f"tokenizer: SentencePiece could not be trained on this corpus: {message}")
