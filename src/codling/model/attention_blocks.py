"""Attention over whole rows in plain JAX, for processors without a fused kernel of their own.

A row is worked through in blocks of queries, and a block is multiplied only with the keys before its end: half the
work of the full square on long rows, and no more than one block of scores alive in each program. The backward pass
computes a block's weights again from its scores and the normalizer that the forward pass kept (arXiv 2205.14135):
cheaper on a CPU than writing all weights to memory and reading them back. Rows and key/value heads are taken one
after the other, so that a head's operands stay in a processor's cache: 2 to 3 times as fast as one large batched
product (`bench/results/LOG.md`).
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

BLOCK_LENGTH_TOKENS = 64
MAX_BLOCKS = 8
"""Longer rows have longer blocks: the blocks are written out one by one, and each costs time to compile."""


def attend_in_blocks(
    queries: Float[Array, "B T N H"],
    keys: Float[Array, "B T K H"],
    values: Float[Array, "B T K H"],
    segment_ids: Int[Array, "B T"],
    prefix_ids: Int[Array, "B T"] | None = None,
) -> Float[Array, "B T N H"]:
    """Causal attention within segments, and to those that they continue; the queries are scaled already."""
    batch, length, num_queries, head_dim = queries.shape
    num_kv, served = keys.shape[2], num_queries // keys.shape[2]
    split = queries.reshape(batch, length, num_kv, served, head_dim)
    by_head = (
        split.transpose(0, 2, 3, 1, 4).reshape(batch * num_kv, served, length, head_dim),
        keys.transpose(0, 2, 1, 3).reshape(batch * num_kv, length, head_dim),
        values.transpose(0, 2, 1, 3).reshape(batch * num_kv, length, head_dim),
        jnp.repeat(segment_ids, num_kv, axis=0),
        None if prefix_ids is None else jnp.repeat(prefix_ids, num_kv, axis=0),
    )
    attended: Array = jax.lax.map(lambda head: _attend_head(*head), by_head)
    attended = attended.reshape(batch, num_kv, served, length, head_dim)
    return attended.transpose(0, 3, 1, 2, 4).reshape(queries.shape)


@jax.custom_vjp
def _attend_head(
    queries: Float[Array, "G T H"],
    keys: Float[Array, "T H"],
    values: Float[Array, "T H"],
    segment_ids: Int[Array, " T"],
    prefix_ids: Int[Array, " T"] | None,
) -> Float[Array, "G T H"]:
    """One key/value head of one row and the G query heads that it serves; the queries are scaled already."""
    return _forward(queries, keys, values, segment_ids, prefix_ids)[0]


def _forward(
    queries: Array, keys: Array, values: Array, segment_ids: Array, prefix_ids: Array | None
) -> tuple[Array, Any]:
    attended, normalizers = [], []
    for start, end in _blocks(keys.shape[0]):
        scores = _scores(queries, keys, segment_ids, prefix_ids, start, end)
        peak = jnp.max(scores, axis=-1, keepdims=True)
        weights = jnp.exp(scores - peak)
        total = jnp.sum(weights, axis=-1, keepdims=True)
        summed = jnp.einsum("gts,sh->gth", weights.astype(values.dtype), values[:end])
        attended.append(summed / total.astype(values.dtype))
        normalizers.append(peak + jnp.log(total))
    result, normalizer = jnp.concatenate(attended, axis=1), jnp.concatenate(normalizers, axis=1)
    return result, (queries, keys, values, segment_ids, prefix_ids, result, normalizer)


def _backward(saved: Any, gradient: Array) -> tuple[Array, Array, Array, None, None]:
    queries, keys, values, segment_ids, prefix_ids, attended, normalizer = saved
    # What the softmax takes off the gradient of each query's weights: their mean under the weights.
    means = jnp.sum((attended * gradient).astype(jnp.float32), axis=-1, keepdims=True)
    query_gradients, key_gradient, value_gradient = [], jnp.zeros_like(keys), jnp.zeros_like(values)
    for start, end in _blocks(keys.shape[0]):
        own = slice(start, end)
        weights = jnp.exp(_scores(queries, keys, segment_ids, prefix_ids, start, end) - normalizer[:, own])
        weight_gradient = jnp.einsum("gth,sh->gts", gradient[:, own], values[:end])
        score_gradient = weights * (weight_gradient.astype(jnp.float32) - means[:, own])
        weights, score_gradient = weights.astype(keys.dtype), score_gradient.astype(keys.dtype)
        query_gradients.append(jnp.einsum("gts,sh->gth", score_gradient, keys[:end]))
        key_gradient = key_gradient.at[:end].add(jnp.einsum("gts,gth->sh", score_gradient, queries[:, own]))
        value_gradient = value_gradient.at[:end].add(jnp.einsum("gts,gth->sh", weights, gradient[:, own]))
    return jnp.concatenate(query_gradients, axis=1), key_gradient, value_gradient, None, None


_attend_head.defvjp(_forward, _backward)


def _blocks(length: int) -> Iterator[tuple[int, int]]:
    block_length = max(BLOCK_LENGTH_TOKENS, -(-length // MAX_BLOCKS))
    for start in range(0, length, block_length):
        yield start, min(start + block_length, length)


def _scores(
    queries: Array, keys: Array, segment_ids: Array, prefix_ids: Array | None, start: int, end: int
) -> Float[Array, "G T S"]:
    """Scores of the block's queries against all keys up to its end, in float32, masked."""
    causal = jnp.arange(start, end)[:, None] >= jnp.arange(end)[None, :]
    in_segment = segment_ids[start:end, None] == segment_ids[None, :end]
    if prefix_ids is not None:
        in_segment |= prefix_ids[start:end, None] == segment_ids[None, :end]
    scores = jnp.einsum("gth,sh->gts", queries[:, start:end], keys[:end]).astype(jnp.float32)
    return jnp.where((causal & in_segment)[None], scores, np.finfo(np.float32).min)
