"""Attention over complete rows of packed documents, as training sees them.

A row is worked through in blocks of queries, and a block is multiplied only with the keys before its end:
half the work of the full square on long rows, and no more than one block of scores alive in each program.
Rows and key/value heads are taken one after the other, so that a head's operands stay in a processor's cache:
on a CPU this ran 2 to 3 times as fast as one large batched product (`bench/results/LOG.md`).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from codling.model.attention import Context, attend_masked

BLOCK_LENGTH_TOKENS = 128


class PackedRows(Context):
    """A token sees itself and the earlier tokens of its own segment (document)."""

    segment_ids: Int[Array, "B T"]

    def attend(
        self, queries: Float[Array, "B T N H"], keys: Float[Array, "B T K H"], values: Float[Array, "B T K H"]
    ) -> tuple[Float[Array, "B T N H"], "PackedRows"]:
        """Attend within the rows; nothing is remembered, as the rows are complete."""
        batch, length, num_queries, head_dim = queries.shape
        num_kv = keys.shape[2]
        split = queries.reshape(batch, length, num_kv, num_queries // num_kv, head_dim)
        by_head = (
            split.transpose(0, 2, 1, 3, 4).reshape(batch * num_kv, length, -1, head_dim),
            keys.transpose(0, 2, 1, 3).reshape(batch * num_kv, length, head_dim),
            values.transpose(0, 2, 1, 3).reshape(batch * num_kv, length, head_dim),
            jnp.repeat(self.segment_ids, num_kv, axis=0),
        )
        attended = jax.lax.map(lambda head: _attend_head(*head), by_head)
        attended = attended.reshape(batch, num_kv, length, -1, head_dim)
        return attended.transpose(0, 2, 1, 3, 4).reshape(queries.shape), self


def _attend_head(
    queries: Float[Array, "T G H"],
    keys: Float[Array, "T H"],
    values: Float[Array, "T H"],
    segment_ids: Int[Array, " T"],
) -> Float[Array, "T G H"]:
    length = keys.shape[0]
    blocks = []
    for start in range(0, length, BLOCK_LENGTH_TOKENS):
        end = min(start + BLOCK_LENGTH_TOKENS, length)
        causal = jnp.arange(start, end)[:, None] >= jnp.arange(end)[None, :]
        same_segment = segment_ids[start:end, None] == segment_ids[None, :end]
        blocks.append(
            attend_masked(
                queries[None, start:end],
                keys[None, :end, None],
                values[None, :end, None],
                (causal & same_segment)[None],
            )[0]
        )
    return jnp.concatenate(blocks)
