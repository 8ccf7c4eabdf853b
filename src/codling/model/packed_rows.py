"""Attention over complete rows of packed documents, as training sees them: what a token sees, and what computes it."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from codling.model.attention import Context
from codling.model.attention_blocks import attend_in_blocks
from codling.model.attention_chunks import attend_in_chunks
from codling.model.attention_fused import attend_cudnn, attend_splash
from codling.model.execution import PLAIN, AttentionKernel, Execution
from codling.model.partition import SEQUENCE


def attend_splash_or_blocks(
    queries: Float[Array, "B T N H"],
    keys: Float[Array, "B T K H"],
    values: Float[Array, "B T K H"],
    segment_ids: Int[Array, "B T"],
    prefix_ids: Int[Array, "B T"] | None = None,
) -> Float[Array, "B T N H"]:
    """Blocks where segments continue others: Splash compares segments for equality, and knows no more of them."""
    if prefix_ids is None:
        return attend_splash(queries, keys, values, segment_ids)
    return attend_in_blocks(queries, keys, values, segment_ids, prefix_ids)


KERNELS = {
    AttentionKernel.BLOCKS: attend_in_blocks,
    AttentionKernel.CUDNN: attend_cudnn,
    AttentionKernel.SPLASH: attend_splash_or_blocks,
}

BETWEEN_LAYERS, WITHIN_LAYERS = ("rows", "tokens_between_layers", None), ("rows", "tokens", None)


class PackedRows(Context):
    """A token sees itself and the earlier tokens of its own segment (document), and of the one that this continues."""

    segment_ids: Int[Array, "B T"]
    execution: Execution = eqx.field(static=True, default=PLAIN)
    prefix_ids: Int[Array, "B T"] | None = None
    """For each token the id of the segment that its own continues, as answers do their prompt; its own where none.
    None: no segment continues another."""

    def collect(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """All tokens of a row, where heads and FFN units are split; left to itself XLA would collect the weights."""
        partition = self.execution.partition
        return x if partition is None else partition.move(x, WITHIN_LAYERS, BETWEEN_LAYERS)

    def spread(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Tokens over all axes that do not split rows: norms are done once, and kept once (arXiv 2205.05198)."""
        partition = self.execution.partition
        return x if partition is None else partition.move(x, BETWEEN_LAYERS, WITHIN_LAYERS)

    def attend(
        self, queries: Float[Array, "B T N H"], keys: Float[Array, "B T K H"], values: Float[Array, "B T K H"]
    ) -> tuple[Float[Array, "B T N H"], "PackedRows"]:
        """Attend within the rows; nothing is remembered, as the rows are complete."""
        queries = queries * (1.0 / math.sqrt(queries.shape[-1]))
        kernel = KERNELS[_chosen(self.execution)]
        partition = self.execution.partition
        if partition is None:
            return kernel(queries, keys, values, self.segment_ids, self.prefix_ids), self
        num_sequence_parts = partition.num_parts("tokens")

        def of_device(
            queries: Array, keys: Array, values: Array, segments: Array, all_segments: Array, prefixes: Array | None
        ) -> Array:
            if num_sequence_parts == 1:
                return kernel(queries, keys, values, segments, prefixes)
            start = jax.lax.axis_index(SEQUENCE) * queries.shape[1]
            return attend_in_chunks(queries, keys, values, segments, all_segments, start, prefixes)

        # Context parallelism: a device keeps its queries, and sees the keys and values of whole rows.
        sharded = jax.shard_map(
            of_device,
            mesh=partition.mesh,
            in_specs=(
                partition.spec("rows", "tokens", "heads", None),
                partition.spec("rows", None, "kv_heads", None),
                partition.spec("rows", None, "kv_heads", None),
                partition.spec("rows", "tokens"),
                partition.spec("rows", None),
                partition.spec("rows", "tokens"),
            ),
            out_specs=partition.spec("rows", "tokens", "heads", None),
            check_vma=False,  # the custom gradient of the blocks has not the annotations that the check wants
        )
        attended: Array = sharded(queries, keys, values, self.segment_ids, self.segment_ids, self.prefix_ids)
        return attended, self


def _chosen(execution: Execution) -> AttentionKernel:
    chosen = execution.compute.attention
    if chosen is not AttentionKernel.AUTO:
        return chosen
    if execution.platform == "tpu":
        return AttentionKernel.SPLASH
    is_half = execution.dtype == jnp.bfloat16
    return AttentionKernel.CUDNN if execution.platform == "gpu" and is_half else AttentionKernel.BLOCKS
