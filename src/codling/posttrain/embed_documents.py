"""Embeddings of documents by the model that is about to be tuned: what near-duplicates are found by.

Source: arXiv 2407.21075 section 4.1 removes duplicates by embeddings, and does not say by whose. Ours: the mean of the
model's own last hidden states, which costs one forward pass and no second model.
"""

from collections.abc import Iterator

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from codling.data.tokens import TokenizedDocuments
from codling.errors import UserError
from codling.model.transformer import Transformer

SHORTEST_BUCKET_TOKENS = 32
BATCH_TOKENS = 8192
"""Of a batch, padding included: it bounds memory, and a longer document is a batch of its own."""


def embed_documents(model: Transformer, documents: TokenizedDocuments) -> Float32[np.ndarray, "d D"]:
    """The mean over a document's tokens of the last hidden states, of length 1, one row a document.

    Documents are padded to a power of 2, and each such length is compiled once; a document's embedding does not depend
    on the others. Errors: `UserError` for a document without tokens, or longer than the model's context.
    """
    lengths = np.diff(documents.offsets)
    _check(lengths, model.config.context_length_tokens)
    embeddings = np.zeros((len(lengths), model.config.model_dim), np.float32)
    for members, rows, row_lengths in _batches(documents, lengths):
        found = _embed(model, jnp.asarray(rows), jnp.asarray(row_lengths))
        embeddings[members] = np.asarray(found)[: len(members)]
    return embeddings


def _batches(documents: TokenizedDocuments, lengths: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The indices of documents of like length, their tokens in padded rows, and the rows' lengths."""
    buckets = np.exp2(np.ceil(np.log2(np.maximum(lengths, SHORTEST_BUCKET_TOKENS)))).astype(np.int64)
    for bucket in np.unique(buckets).tolist():
        in_bucket = np.flatnonzero(buckets == bucket)
        num_rows = max(1, BATCH_TOKENS // bucket)
        for begin in range(0, len(in_bucket), num_rows):
            members = in_bucket[begin : begin + num_rows]
            # The rows that fill a batch up have one token, so that their mean is a number.
            rows, row_lengths = np.zeros((num_rows, bucket), np.int32), np.ones(num_rows, np.int32)
            for row, member in enumerate(members):
                row_lengths[row] = lengths[member]
                rows[row, : lengths[member]] = documents.tokens[documents.offsets[member] :][: lengths[member]]
            yield members, rows, row_lengths


def _check(lengths: np.ndarray, context_length_tokens: int) -> None:
    if not len(lengths):
        return
    if lengths.min() < 1:
        raise UserError(f"document {int(lengths.argmin())} has no tokens, so it has no embedding; take it out")
    # As in a row of training, whose last token is a target only.
    if lengths.max() > context_length_tokens + 1:
        raise UserError(
            f"document {int(lengths.argmax())} of {int(lengths.max())} tokens is beyond the model's context of "
            f"{context_length_tokens}; take it out"
        )


@eqx.filter_jit
def _embed(model: Transformer, rows: Int[Array, "B T"], lengths: Int[Array, " B"]) -> Float[Array, "B D"]:
    positions = jnp.broadcast_to(jnp.arange(rows.shape[1]), rows.shape)
    is_text = positions < lengths[:, None]
    hidden = model(rows, positions, is_text.astype(jnp.int32), rope_theta=model.config.rope_theta)
    # The length of the sum is divided out, so it need not be the mean.
    total = jnp.einsum("btd,bt->bd", hidden, is_text.astype(hidden.dtype))
    unit: Array = total / jnp.linalg.norm(total, axis=-1, keepdims=True)
    return unit
