"""A tokenizer that came with an imported checkpoint: `tokenizer.json`, as the `tokenizers` library runs it.

It encodes text, decodes tokens, begins a text and stops where its own files say. What it has not got is codling's chat
template: its special tokens mean other things. Like codling's own, it takes the name of a special token in a text for
text, and decodes by a table of bytes, so that both stream alike.

Differs from the library's decoder: a space that a tokenizer puts before every text (as Llama 2's did) is not taken off.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import tokenizers

from codling.errors import UserError
from codling.tokenizer.encode import SPACE_MARK, StreamDecoder, Tokenizer, check_unicode

IMPORTED_FILE: Final = "tokenizer.json"
GENERATION_FILE: Final = "generation_config.json"
COMPANION_FILES: Final = ("tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
"""What else other libraries read of a tokenizer; kept as it came."""
BYTE_TOKEN: Final = re.compile("<0x([0-9A-Fa-f]{2})>")


class SpecialRoles(NamedTuple):
    """Which tokens begin, end and fill a text, as `generation_config.json` names them."""

    bos: int | None
    eos: tuple[int, ...]
    """Each ends a text; there is at least one."""
    pad: int | None


@final
@dataclass(frozen=True, eq=False)
class ImportedTokenizer:
    """Somebody else's tokenizer; build it with `from_files` or `load`."""

    files: Mapping[str, bytes] = field(repr=False)
    """What it consists of on disk, by name, `generation_config.json` included."""
    token_bytes: tuple[bytes, ...] = field(repr=False)
    """What each id stands for, UTF-8; nothing for a row of the embedding that no token has."""
    special_ids: frozenset[int] = field(repr=False)
    begin_ids: tuple[int, ...]
    """What it puts before a text: its start token, or nothing."""
    roles: SpecialRoles
    _encoder: tokenizers.Tokenizer = field(repr=False)

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], *, vocab_size: int, source: str) -> "ImportedTokenizer":
        """Read the files' content for an embedding of `vocab_size` rows; `source` is the directory in errors.

        Errors: `UserError` for a `tokenizer.json` that the library cannot read, that has more tokens than the embedding
        has rows, or that spells its tokens in a way we do not know; and where no token ends a text.
        """
        path = f"{source}/{IMPORTED_FILE}"
        try:
            content = json.loads(files[IMPORTED_FILE])
            encoder = tokenizers.Tokenizer.from_buffer(files[IMPORTED_FILE])
        except Exception as error:  # the library has no errors of its own
            raise UserError(f"{path}: not readable as a tokenizer ({error})") from None
        # Written by whoever trained it, for rows of a batch; here nothing is ever cut or filled silently.
        encoder.no_truncation()
        encoder.no_padding()
        encoder.encode_special_tokens = True
        added = encoder.get_added_tokens_decoder()
        first = encoder.encode("a", add_special_tokens=True)
        marked = zip(first.ids, first.special_tokens_mask, strict=True)
        return cls(
            files=files,
            token_bytes=_token_bytes(content, encoder, vocab_size, path),
            special_ids=frozenset(id for id, token in added.items() if token.special),
            begin_ids=tuple(id for id, _ in takewhile(lambda pair: pair[1], marked)),
            roles=_read_roles(files[GENERATION_FILE], vocab_size, f"{source}/{GENERATION_FILE}"),
            _encoder=encoder,
        )

    @classmethod
    def load(cls, directory: Path, vocab_size: int) -> "ImportedTokenizer":
        """Read the tokenizer of a bundle. Errors: `UserError` if a file is missing, and as for `from_files`."""
        for name in (IMPORTED_FILE, GENERATION_FILE):
            if not (directory / name).is_file():
                raise UserError(f"{directory / name}: no such file; the bundle is not complete")
        names = (IMPORTED_FILE, GENERATION_FILE, *COMPANION_FILES)
        files = {name: (directory / name).read_bytes() for name in names if (directory / name).is_file()}
        return cls.from_files(files, vocab_size=vocab_size, source=str(directory))

    @property
    def sha256(self) -> str:
        """Names this tokenizer; weights note it."""
        return hashlib.sha256(self.files[IMPORTED_FILE]).hexdigest()

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding."""
        return len(self.token_bytes)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """What ends a text."""
        return self.roles.eos

    @property
    def tool_call_id(self) -> None:
        """None: how it spells tool calls is not known."""
        return None

    def encode(self, text: str) -> list[int]:
        """Spell `text` in tokens, never in special ones. Errors: `UserError` for a lone surrogate."""
        check_unicode(text)
        ids: list[int] = self._encoder.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Iterable[int], *, show_special: bool = False) -> str:
        """Give back the text; special tokens are left out, or shown by name.

        Errors: `UserError` for an id outside the embedding.
        """
        stream = StreamDecoder(self, show_special=show_special)
        return "".join([*map(stream.push, ids), stream.finish()])


TextTokenizer = Tokenizer | ImportedTokenizer
"""What turns text into tokens and back, whoever trained it."""


def _read_roles(generation: bytes, vocab_size: int, path: str) -> SpecialRoles:
    try:
        values = json.loads(generation)
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: not a JSON object")

    def check(name: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < vocab_size:
            raise UserError(f"{path}: {name} {value!r} is no token of this model, whose ids run to {vocab_size - 1}")
        return value

    named = {name: values[name] for name in ("bos_token_id", "pad_token_id") if values.get(name) is not None}
    ids = {name: check(name, value) for name, value in named.items()}
    ends = values.get("eos_token_id")
    ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
    if not ends:
        raise UserError(f"{path}: names no eos_token_id, so nothing would end a text; add it")
    eos = tuple(check("eos_token_id", end) for end in ends)
    return SpecialRoles(ids.get("bos_token_id"), eos, ids.get("pad_token_id"))


def _token_bytes(
    content: dict[str, Any], encoder: tokenizers.Tokenizer, vocab_size: int, path: str
) -> tuple[bytes, ...]:
    spell = _speller(content.get("decoder"), path)
    spelled = {id: spell(token) for token, id in encoder.get_vocab(with_added_tokens=False).items()}
    spelled |= {id: token.content.encode() for id, token in encoder.get_added_tokens_decoder().items()}
    largest = max(spelled, default=0)
    if largest >= vocab_size:
        raise UserError(f"{path}: has tokens up to id {largest}, the embedding has {vocab_size} rows only")
    return tuple(spelled.get(id, b"") for id in range(vocab_size))


def _speller(decoder: Any, path: str) -> Callable[[str], bytes]:
    """What turns a token of the vocabulary into the bytes that it stands for, by the decoder of `tokenizer.json`."""
    steps = decoder.get("decoders", [decoder]) if isinstance(decoder, dict) else []
    kinds = [step.get("type") for step in steps]
    if "ByteLevel" in kinds:
        alphabet = byte_alphabet()

        def spell_bytes(token: str) -> bytes:
            is_spelled = all(letter in alphabet for letter in token)
            return bytes(alphabet[letter] for letter in token) if is_spelled else token.encode()

        return spell_bytes
    if "ByteFallback" in kinds:
        spaces = [step for step in steps if step.get("pattern") == {"String": SPACE_MARK}]

        def spell_pieces(token: str) -> bytes:
            if found := BYTE_TOKEN.fullmatch(token):
                return bytes([int(found[1], base=16)])
            return (token.replace(SPACE_MARK, " ") if spaces else token).encode()

        return spell_pieces
    names = ", ".join(map(str, kinds)) or "none"
    raise UserError(f"{path}: its decoder ({names}) is not supported, only ByteLevel and ByteFallback are")


def byte_alphabet() -> dict[str, int]:
    """The letters that byte-level tokenizers write bytes with: themselves where they can be seen, else from U+0100 on.

    Source: GPT-2 (https://github.com/openai/gpt-2/blob/master/src/encoder.py), since used by all of them.
    """
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(256 + place): byte for place, byte in enumerate(hidden)}
