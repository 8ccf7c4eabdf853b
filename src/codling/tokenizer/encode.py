"""Text to token ids and back.

Decoding gives back exactly the text that was encoded, for every Unicode string, and no text encodes to a
special token. No token holds a line break and what comes after it, so a text may be encoded line by line.

What was dropped: SentencePiece's own decoding. It cannot stream, and it turns U+2581 into a space; a table of
bytes per token does both right and is what constrained decoding needs anyway.
"""

import codecs
import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, final, runtime_checkable

import sentencepiece

from codling.errors import UserError
from codling.tokenizer.special_tokens import BOS, END, EOS, FIRST_BYTE_ID, PAD, SPECIAL_TOKENS, TOOL_CALL

MODEL_FILE: Final = "tokenizer.model"
SPACE_MARK: Final = "\u2581"
"""How SentencePiece spells a space inside a piece."""


@final
@dataclass(frozen=True)
class Tokenizer:
    """A trained tokenizer; build it with `from_bytes` or `load`. The same model is the same tokenizer."""

    model: bytes = field(repr=False)
    """The serialized SentencePiece model."""
    token_bytes: tuple[bytes, ...] = field(repr=False, compare=False)
    """What each id stands for, UTF-8; a special token stands for its name."""
    _processor: sentencepiece.SentencePieceProcessor = field(repr=False, compare=False)

    @classmethod
    def from_bytes(cls, model: bytes, *, source: str = "tokenizer") -> "Tokenizer":
        """Read a serialized model; `source` is how errors name it.

        Errors: `UserError` if the bytes are no SentencePiece model, or one that was not trained here.
        """
        processor = sentencepiece.SentencePieceProcessor()
        try:
            processor.load_from_serialized_proto(model)
        except RuntimeError:
            raise UserError(f"{source}: not a SentencePiece model, or a damaged one; train it again") from None
        names = [processor.id_to_piece(id) for id in range(min(len(SPECIAL_TOKENS), len(processor)))]
        if names != [token.text for token in SPECIAL_TOKENS] or processor.piece_to_id("<0x00>") != FIRST_BYTE_ID:
            raise UserError(f"{source}: a SentencePiece model, but not one trained by codling; train one here")
        return cls(model, tuple(_bytes_of(processor, id) for id in range(len(processor))), processor)

    @classmethod
    def load(cls, directory: Path) -> "Tokenizer":
        """Read the tokenizer of a bundle or an artifact. Errors: `UserError` if it is missing or damaged."""
        path = directory / MODEL_FILE
        if not path.is_file():
            raise UserError(f"{path}: no such file; name a directory that holds a tokenizer")
        return cls.from_bytes(path.read_bytes(), source=str(path))

    @property
    def sha256(self) -> str:
        """Names this tokenizer; weights note it, so that another tokenizer is never used with them."""
        return hashlib.sha256(self.model).hexdigest()

    @property
    def vocab_size(self) -> int:
        """Ids run from 0 up to this."""
        return len(self.token_bytes)

    @property
    def bos_id(self) -> int:
        """Starts a document or a conversation."""
        return BOS.id

    @property
    def eos_id(self) -> int:
        """Ends a document."""
        return EOS.id

    @property
    def pad_id(self) -> int:
        """Fills the rows of a batch."""
        return PAD.id

    @property
    def end_id(self) -> int:
        """Ends a turn of a conversation."""
        return END.id

    @property
    def special_ids(self) -> range:
        """The tokens that are not text."""
        return range(len(SPECIAL_TOKENS))

    @property
    def begin_ids(self) -> tuple[int, ...]:
        """What stands before a text."""
        return (BOS.id,)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """What ends an answer: the end of the turn, or of the document."""
        return (END.id, EOS.id)

    @property
    def tool_call_id(self) -> int:
        """After it a tool call follows."""
        return TOOL_CALL.id

    def encode(self, text: str) -> list[int]:
        """Spell `text` in tokens, never in special ones. Errors: `UserError` for a lone surrogate."""
        check_unicode(text)
        # SentencePiece would take a real U+2581 for a space, so that one character is spelled in bytes.
        ids: list[int]
        ids, *others = (self._processor.encode(part) for part in text.split(SPACE_MARK))
        for other in others:
            ids += [FIRST_BYTE_ID + byte for byte in SPACE_MARK.encode()]
            ids += other
        return ids

    def encode_document(self, text: str) -> list[int]:
        """Spell a whole document: its start, its text, its end."""
        return [BOS.id, *self.encode(text), EOS.id]

    def decode(self, ids: Iterable[int], *, show_special: bool = False) -> str:
        """Give back the text; special tokens are left out, or shown by name.

        Bytes that are no UTF-8, which only a model can produce, show as U+FFFD.
        Errors: `UserError` for an id outside the vocabulary.
        """
        stream = StreamDecoder(self, show_special=show_special)
        return "".join([*map(stream.push, ids), stream.finish()])


def check_unicode(text: str) -> None:
    """Errors: `UserError` for a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"text: no valid Unicode, there is a lone surrogate at character {error.start}") from None


@runtime_checkable
class TokenTable(Protocol):
    """What decoding needs to know of a tokenizer."""

    @property
    def token_bytes(self) -> Sequence[bytes]:
        """What each id stands for, UTF-8; a special token stands for its name."""

    @property
    def special_ids(self) -> Collection[int]:
        """The tokens that are not text."""


@final
class StreamDecoder:
    """Decodes ids as they come; the bytes of an unfinished character are held back until the rest arrives."""

    def __init__(self, tokenizer: TokenTable, *, show_special: bool = False):
        self._token_bytes = tokenizer.token_bytes
        self._hidden_ids = () if show_special else tokenizer.special_ids
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """Take one more id; return the text that it completes, often none."""
        if not 0 <= token_id < len(self._token_bytes):
            raise UserError(f"token id {token_id}: this tokenizer's ids run from 0 to {len(self._token_bytes) - 1}")
        if token_id in self._hidden_ids:
            return ""
        return self._utf8.decode(self._token_bytes[token_id])

    def finish(self) -> str:
        """Return what is still held back, as U+FFFD."""
        return self._utf8.decode(b"", final=True)


def _bytes_of(processor: sentencepiece.SentencePieceProcessor, token_id: int) -> bytes:
    piece: str = processor.id_to_piece(token_id)
    if processor.is_byte(token_id):
        return bytes([int(piece[3:5], base=16)])
    return piece.replace(SPACE_MARK, " ").encode()
