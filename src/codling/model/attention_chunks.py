"""Attention of a part of a row to the whole row: what a device computes when rows are split over a mesh."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from codling.model.attention import attend_masked

MAX_CHUNK_LENGTH_TOKENS = 256


def attend_in_chunks(
    queries: Float[Array, "B T N H"],
    keys: Float[Array, "B S K H"],
    values: Float[Array, "B S K H"],
    segment_ids: Int[Array, "B T"],
    all_segment_ids: Int[Array, "B S"],
    start: Int[Array, ""] | int,
    prefix_ids: Int[Array, "B T"] | None = None,
) -> Float[Array, "B T N H"]:
    """Causal attention within segments, and to those that they continue; the first query is token `start` of its row.

    The queries are scaled already. Scores exist for one chunk of them at a time, and are computed again in the backward
    pass.
    """
    length = queries.shape[1]
    chunk_length = next(size for size in range(min(length, MAX_CHUNK_LENGTH_TOKENS), 0, -1) if length % size == 0)
    num_chunks = length // chunk_length

    @jax.checkpoint
    def attend(chunk: tuple[Array, Array, Array, Array | None]) -> Array:
        index, chunk_queries, chunk_segments, chunk_prefixes = chunk
        places = start + index * chunk_length + jnp.arange(chunk_length)
        causal = places[:, None] >= jnp.arange(keys.shape[1])[None, :]
        in_segment = chunk_segments[:, :, None] == all_segment_ids[:, None, :]
        if chunk_prefixes is not None:
            in_segment |= chunk_prefixes[:, :, None] == all_segment_ids[:, None, :]
        return attend_masked(chunk_queries, keys, values, causal[None] & in_segment, is_scaled=True)

    def split(x: Array) -> Array:
        return jnp.moveaxis(x.reshape(x.shape[0], num_chunks, chunk_length, *x.shape[2:]), 1, 0)

    prefixes = None if prefix_ids is None else split(prefix_ids)
    attended = jax.lax.map(attend, (jnp.arange(num_chunks), split(queries), split(segment_ids), prefixes))
    return jnp.moveaxis(attended, 0, 1).reshape(queries.shape)
