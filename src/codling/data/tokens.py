"""Tokenized documents: one flat array of ids and the offsets at which documents begin.

Between sources and packing: text is encoded once, kept as raw `.npy` arrays, memory-mapped by every stage.
Tried and dropped: `.npz`, which is neither memory-mapped nor free of the clock (zip entries carry a date).
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, Int64

from codling.errors import UserError


class TokenizedDocuments(NamedTuple):
    """Documents as ids. Document i is `tokens[offsets[i]:offsets[i + 1]]`."""

    tokens: Int32[np.ndarray, "n"]
    """Ids of all documents, one after the other."""
    offsets: Int64[np.ndarray, "d+1"]
    """Begin of each document in `tokens`, and their end."""
    loss_mask: Bool[np.ndarray, "n"] | None
    """Which tokens may be a target; none: all. SFT learns the assistant's turns only."""

    @property
    def num_documents(self) -> int:
        """How many documents there are."""
        return len(self.offsets) - 1


def tokenize_documents(texts: Iterable[str], encode: Callable[[str], list[int]]) -> TokenizedDocuments:
    """Encode each text; `encode` adds the begin and end tokens that a document needs."""
    return join_documents([encode(text) for text in texts])


def join_documents(
    documents: Sequence[Sequence[int]], loss_masks: Sequence[Sequence[bool]] | None = None
) -> TokenizedDocuments:
    """Put documents that are ids already (conversations, say) into one array; masks have the same lengths."""
    lengths = [len(document) for document in documents]
    if loss_masks is not None and [len(mask) for mask in loss_masks] != lengths:
        raise ValueError("loss masks and documents differ in number or length")
    offsets = np.cumsum([0, *lengths], dtype=np.int64)
    tokens = _flatten(documents, np.int32)
    return TokenizedDocuments(tokens, offsets, None if loss_masks is None else _flatten(loss_masks, np.bool_))


def select_documents(documents: TokenizedDocuments, indices: Int64[np.ndarray, " k"]) -> TokenizedDocuments:
    """Copy the documents at these indices, in the order of the indices."""
    starts, lengths = documents.offsets[indices], np.diff(documents.offsets)[indices]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
    loss_mask = None if documents.loss_mask is None else documents.loss_mask[places]
    return TokenizedDocuments(documents.tokens[places], offsets, loss_mask)


def save_tokens(folder: Path, documents: TokenizedDocuments) -> None:
    """Write `tokens.npy`, `offsets.npy` and any `loss_mask.npy`. Same documents, same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in documents._asdict().items():
        if array is not None:
            np.save(folder / f"{name}.npy", array, allow_pickle=False)


def load_tokens(folder: Path) -> TokenizedDocuments:
    """Memory-map what `save_tokens` wrote.

    Errors: `UserError` that names the file which is missing, truncated or of another kind.
    """
    tokens = _map_array(folder / "tokens.npy", np.int32)
    offsets = _map_array(folder / "offsets.npy", np.int64)
    mask_file = folder / "loss_mask.npy"
    loss_mask = _map_array(mask_file, np.bool_) if mask_file.exists() else None
    if len(offsets) == 0 or offsets[-1] != len(tokens) or (loss_mask is not None and len(loss_mask) != len(tokens)):
        raise UserError(f"{folder}: its arrays do not belong together; write the tokens again")
    return TokenizedDocuments(tokens, offsets, loss_mask)


def _flatten(parts: Sequence[Sequence[int] | Sequence[bool]], dtype: type[np.generic]) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *(np.asarray(part, dtype) for part in parts)])


def _map_array(file: Path, dtype: type[np.generic]) -> np.ndarray:
    try:
        array: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; write the tokens again") from None
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{file}: cannot be read ({error}); write the tokens again") from None
    if array.dtype != dtype or array.ndim != 1:
        found = f"{array.dtype} of {array.ndim} dimensions"
        raise UserError(f"{file}: holds {found}, not a row of {np.dtype(dtype)}; write the tokens again")
    return array
