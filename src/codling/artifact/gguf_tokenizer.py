"""A tokenizer as a GGUF file says it, so that llama.cpp spells text in the same ids.

Codling's own is a `llama` tokenizer there: SentencePiece pieces with their scores, joined by score. An imported
byte-level one is a `gpt2` tokenizer: pieces in the byte alphabet, and merges in order. How the latter splits text into
words is not in the file but in llama.cpp, under a name (`tokenizer.ggml.pre`); we know the names of the splits that
checkpoints of our shapes come with.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, and src/llama-vocab.cpp of
https://github.com/ggml-org/llama.cpp for the splits.

Where llama.cpp spells otherwise, whatever a file says: it does not compose characters (NFC) as Qwen's tokenizer does,
it takes a real U+2581 for a space, and joins up the name of a special token that stands in a text where its parts are
pieces.
"""

import json
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final, NamedTuple

import sentencepiece

from codling.errors import UserError
from codling.tokenizer.chat_template import CHAT_TEMPLATE
from codling.tokenizer.encode import Tokenizer
from codling.tokenizer.imported import IMPORTED_FILE, ImportedTokenizer, TextTokenizer
from codling.tokenizer.special_tokens import BOS, END, EOS, PAD, UNK


class TokenKind(IntEnum):
    """Kinds of tokens, by their numbers in the format."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class GgufTokenizer(NamedTuple):
    """The values of the keys `tokenizer.*`; None where a key is left out."""

    model: str
    pre: str
    tokens: list[str]
    kinds: list[TokenKind]
    scores: list[float] | None
    merges: list[str] | None
    bos_id: int | None
    eos_id: int
    eot_id: int | None
    """A second token that ends an answer; further ones llama.cpp knows by their usual names."""
    unk_id: int | None
    pad_id: int | None
    adds_bos: bool
    chat_template: str | None


DIGIT_SPLIT: Final = r"\p{N}"
GPT2_SPLIT: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
"""What a `ByteLevel` step splits by."""
LLAMA3_SPLIT: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN2_SPLIT: Final = LLAMA3_SPLIT.replace("{1,3}", "")

SPLIT_NAMES: Final[Mapping[tuple[str, ...], str]] = {
    (GPT2_SPLIT,): "gpt-2",
    (DIGIT_SPLIT, GPT2_SPLIT): "smollm",
    (LLAMA3_SPLIT,): "llama-bpe",
    (QWEN2_SPLIT,): "qwen2",
}
"""Expressions by which text is split, one after the other -> llama.cpp's name."""
WHOLE_WORD_SPLITS: Final = ("llama-bpe",)
"""Those under whose names llama.cpp takes a word that is a token as it is, without its merges (`ignore_merges`)."""


def gguf_tokenizer(tokenizer: TextTokenizer) -> GgufTokenizer:
    """What a GGUF file says of a tokenizer.

    Errors: `UserError` for an imported one that is not byte-level BPE, or that llama.cpp has no name for.
    """
    return _imported(tokenizer) if isinstance(tokenizer, ImportedTokenizer) else _own(tokenizer)


def _own(tokenizer: Tokenizer) -> GgufTokenizer:
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model)
    ids = range(len(processor))

    def kind(id: int) -> TokenKind:
        if processor.is_byte(id):
            return TokenKind.BYTE
        if id == UNK.id:
            return TokenKind.UNKNOWN
        return TokenKind.CONTROL if processor.is_control(id) else TokenKind.NORMAL

    return GgufTokenizer(
        model="llama",
        pre="default",
        tokens=[processor.id_to_piece(id) for id in ids],
        kinds=[kind(id) for id in ids],
        scores=[processor.get_score(id) for id in ids],
        merges=None,
        bos_id=BOS.id,
        eos_id=EOS.id,
        eot_id=END.id,
        unk_id=UNK.id,
        pad_id=PAD.id,
        adds_bos=True,
        chat_template=CHAT_TEMPLATE,
    )


def _imported(tokenizer: ImportedTokenizer) -> GgufTokenizer:
    content = json.loads(tokenizer.files[IMPORTED_FILE])
    pre = split_name(content)
    vocab, added = content["model"]["vocab"], content.get("added_tokens", [])
    if len(tokenizer.begin_ids) > 1:
        raise UserError(f"{IMPORTED_FILE}: puts several tokens before a text, llama.cpp only one")
    tokens = [f"[PAD{id}]" for id in range(tokenizer.vocab_size)]
    kinds = [TokenKind.UNUSED] * tokenizer.vocab_size
    for text, id in vocab.items():
        tokens[id], kinds[id] = text, TokenKind.NORMAL
    for token in added:
        kind = TokenKind.CONTROL if token.get("special") else TokenKind.USER_DEFINED
        tokens[token["id"]], kinds[token["id"]] = token["content"], kind
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in content["model"]["merges"]]
    eos_id, *more_ends = tokenizer.roles.eos
    return GgufTokenizer(
        model="gpt2",
        pre=pre,
        tokens=tokens,
        kinds=kinds,
        scores=None,
        merges=merges,
        bos_id=tokenizer.begin_ids[0] if tokenizer.begin_ids else tokenizer.roles.bos,
        eos_id=eos_id,
        eot_id=more_ends[0] if more_ends else None,
        unk_id=None,
        pad_id=tokenizer.roles.pad,
        adds_bos=bool(tokenizer.begin_ids),
        chat_template=_their_template(tokenizer.files),
    )


def split_name(content: Mapping[str, Any]) -> str:
    """llama.cpp's name for how a `tokenizer.json` splits text into words.

    Errors: `UserError` for a tokenizer that is not byte-level BPE, and for a split that we know no name of.
    """
    model, normalizer = content["model"], content.get("normalizer")
    affixes = [model.get(key) for key in ("continuing_subword_prefix", "end_of_word_suffix")]
    if model.get("type", "BPE") != "BPE" or "merges" not in model or model.get("byte_fallback") or any(affixes):
        raise UserError(
            f"{IMPORTED_FILE}: not byte-level BPE, the only kind of imported tokenizer that GGUF files take"
        )
    splits, is_byte_level = _splits(content.get("pre_tokenizer"))
    name = SPLIT_NAMES.get(splits)
    takes_whole_words = bool(model.get("ignore_merges"))
    is_composed_at_most = normalizer is None or normalizer.get("type") == "NFC"
    if not is_byte_level or name is None or not is_composed_at_most:
        known = ", ".join(SPLIT_NAMES.values())
        raise UserError(f"{IMPORTED_FILE}: splits text in a way that we have no llama.cpp name for (known: {known})")
    if takes_whole_words != (name in WHOLE_WORD_SPLITS):
        raise UserError(f"{IMPORTED_FILE}: ignore_merges is {takes_whole_words}, which llama.cpp's {name} is not")
    return name


def _splits(pre_tokenizer: Any) -> tuple[tuple[str, ...], bool]:
    """The expressions that text is split by, and whether the words are then spelled in bytes; unknown steps show."""
    steps = pre_tokenizer.get("pretokenizers", [pre_tokenizer]) if isinstance(pre_tokenizer, dict) else []
    splits: list[str] = []
    is_byte_level = False
    for step in steps:
        match step:
            case {"type": "ByteLevel", "add_prefix_space": False}:
                is_byte_level = True
                splits += [GPT2_SPLIT] if step.get("use_regex", True) else []
            case {"type": "Digits", "individual_digits": True}:
                splits.append(DIGIT_SPLIT)
            case {"type": "Split", "pattern": {"Regex": str(expression)}, "behavior": "Isolated", "invert": False}:
                splits.append(expression)
            case _:
                splits.append(f"unknown: {step}")
    return tuple(splits), is_byte_level


def _their_template(files: Mapping[str, bytes]) -> str | None:
    """The chat template of a checkpoint: a file of its own, or in `tokenizer_config.json`, perhaps one of several."""
    if "chat_template.jinja" in files:
        return files["chat_template.jinja"].decode()
    template = json.loads(files.get("tokenizer_config.json", b"{}")).get("chat_template")
    if isinstance(template, list):
        by_name = {entry.get("name"): entry.get("template") for entry in template}
        template = by_name.get("default")
    return template if isinstance(template, str) else None
