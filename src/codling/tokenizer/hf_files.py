"""Writes the tokenizer as the files that transformers, tokenizers and vLLM read.

They encode any text to the ids of `Tokenizer.encode`. One thing differs by their own custom: they take the
name of a special token in plain text for that token, unless told `split_special_tokens=True` (or, for chats,
`sanitize_control_tokens=True`).

Two facts make the equality exact and not just likely:
- SentencePiece joins a pair of pieces by the score of what it yields; `tokenizers` by the rank of the pair.
  Where several pairs yield the same piece, their order does not matter: if a piece comes to be, nothing was
  joined across its borders before, so inside them just that was joined which is joined when the piece is
  encoded alone; the last pair is always the same one, and the others never come up.
- Spaces are written as spaces, not as U+2581. So there is no normalizer, and a real U+2581 falls back to
  bytes as it does in `Tokenizer.encode`.
"""

import json
from collections.abc import Mapping
from typing import Any

import sentencepiece

from codling.tokenizer.chat_template import CHAT_TEMPLATE
from codling.tokenizer.encode import MODEL_FILE, SPACE_MARK, Tokenizer
from codling.tokenizer.special_tokens import BOS, EOS, FIRST_LEARNED_ID, PAD, SPECIAL_TOKENS, UNK


def tokenizer_files(tokenizer: Tokenizer, context_length_tokens: int) -> dict[str, bytes]:
    """Return the content of each file by its name; the same tokenizer gives the same bytes."""
    return {
        MODEL_FILE: tokenizer.model,
        "tokenizer.json": _json(_tokenizer_json(tokenizer)),
        "tokenizer_config.json": _json(_tokenizer_config_json(context_length_tokens)),
    }


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def _tokenizer_json(tokenizer: Tokenizer) -> dict[str, Any]:
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model)
    pieces = [processor.id_to_piece(id).replace(SPACE_MARK, " ") for id in range(len(processor))]
    scores = {pieces[id]: processor.get_score(id) for id in range(FIRST_LEARNED_ID, len(pieces))}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": token.id, **_added_token(token.text)} for token in SPECIAL_TOKENS],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": UNK.text,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {piece: id for id, piece in enumerate(pieces)},
            "merges": _merges(scores),
        },
    }


def _added_token(text: str) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"content": text, **flags}


def _tokenizer_config_json(context_length_tokens: int) -> dict[str, Any]:
    named = (UNK, BOS, EOS, PAD)
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": UNK.text,
        "bos_token": BOS.text,
        "eos_token": EOS.text,
        "pad_token": PAD.text,
        "additional_special_tokens": [token.text for token in SPECIAL_TOKENS if token not in named],
        "added_tokens_decoder": {str(token.id): _added_token(token.text) for token in SPECIAL_TOKENS},
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": context_length_tokens,
        "model_input_names": ["input_ids", "attention_mask"],
        "chat_template": CHAT_TEMPLATE,
    }


def _merges(scores: Mapping[str, float]) -> list[tuple[str, str]]:
    """The pairs to join, in order; the higher a learned piece's score, the earlier it is made."""
    return [
        (piece[:cut], piece[cut:])
        for piece in sorted(scores, key=scores.__getitem__, reverse=True)
        for cut in range(1, len(piece))
        if piece[:cut] in scores and piece[cut:] in scores
    ]
