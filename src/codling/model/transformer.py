"""The language model (arXiv 2407.21075 section 2.1): decoder-only, pre-norm, one matrix for both embeddings.

The same block as the public Qwen3 family, so a model can be written as a `Qwen3ForCausalLM` checkpoint
without loss. Layers are stacked: every leaf of `blocks` has a leading axis of num_layers. They are scanned,
or unrolled into one straight program, which a CPU runs about a quarter faster at the price of a longer
compilation.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from codling.model.attention import C
from codling.model.block import Block
from codling.model.config import ModelConfig
from codling.model.dropout import Dropout, of_layers
from codling.model.embedding import look_up
from codling.model.execution import PLAIN, Execution, Remat
from codling.model.kv_cache import KVCache
from codling.model.linear import PROJECTION
from codling.model.norm import RMSNorm
from codling.model.packed_rows import PackedRows
from codling.model.rope import rotary

MAX_UNROLLED_LAYERS = 12

T = TypeVar("T")
Layer = Callable[[Array, Any], tuple[Array, None]]


class Transformer(eqx.Module):
    """Token ids in, final hidden states out; `logits` maps those onto the vocabulary."""

    embedding: Float[Array, "V D"]
    blocks: Block
    final_norm: RMSNorm
    config: ModelConfig = eqx.field(static=True)

    def __call__(
        self,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"],
        segment_ids: Int[Array, "B T"],
        prefix_ids: Int[Array, "B T"] | None = None,
        *,
        rope_theta: float,
        execution: Execution = PLAIN,
        dropout: Dropout | None = None,
    ) -> Float[Array, "B T D"]:
        """Run complete rows, in which a token sees the earlier tokens of its own segment.

        And of the segment that its own continues, where `prefix_ids` says so (`packed_rows`). Dropout is for training.
        """
        angles = rotary(positions, self.config.head_dim, rope_theta)
        rows = PackedRows(segment_ids, execution, prefix_ids)
        # Cast before they are gathered from the mesh, so that half the bytes travel.
        blocks = _cast(self.blocks, execution.dtype)

        def layer(x: Array, block_and_dropout: tuple[Block, Dropout | None]) -> tuple[Array, None]:
            block, layer_dropout = block_and_dropout
            return block(x, angles, rows, layer_dropout)[0], None

        x = rows.spread(look_up(self.embedding, tokens, execution))
        unroll = self.config.num_layers if _is_unrolled(self.config, execution) else 1
        layers = blocks, of_layers(dropout, self.config.num_layers)
        x, _ = jax.lax.scan(_remember(layer, execution.compute.remat), x, layers, unroll=unroll)
        return self.final_norm(x)

    def extend(
        self, tokens: Int[Array, "B T"], cache: KVCache, *, rope_theta: float
    ) -> tuple[Float[Array, "B T D"], KVCache]:
        """Run the next T tokens of each row after what its cache holds; `cache.positions` does not move."""
        positions = cache.positions[0][:, None] + jnp.arange(tokens.shape[1])[None, :]
        angles = rotary(positions, self.config.head_dim, rope_theta)

        def layer(x: Array, block_and_cache: tuple[Block, KVCache]) -> tuple[Array, KVCache]:
            block, layer_cache = block_and_cache
            return block(x, angles, layer_cache)

        x, cache = jax.lax.scan(layer, self.embedding[tokens], (self.blocks, cache))
        return self.final_norm(x), cache

    def extend_layers(
        self, tokens: Int[Array, "B T"], positions: Int[Array, "B T"], contexts: Sequence[C], *, rope_theta: float
    ) -> tuple[Float[Array, "B T D"], list[C]]:
        """Run tokens after what each layer's own context holds: one straight program, which may write in place."""
        angles = rotary(positions, self.config.head_dim, rope_theta)
        x, grown = self.embedding[tokens], []
        for number, context in enumerate(contexts):
            x, extended = self.block(number)(x, angles, context)
            grown.append(extended)
        return self.final_norm(x), grown

    def block(self, layer: int) -> Block:
        """The block of one layer."""
        block: Block = jax.tree.map(lambda leaf: leaf[layer], self.blocks)
        return block

    def logits(self, hidden: Float[Array, "*B D"]) -> Float[Array, "*B V"]:
        """Scores of every vocabulary entry. A loss over many tokens uses `train.loss`, in chunks."""
        return jnp.einsum("...d,vd->...v", hidden, self.embedding.astype(hidden.dtype))


def _cast(tree: T, dtype: jnp.dtype) -> T:
    def cast(leaf: Array) -> Array:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    casted: T = jax.tree.map(cast, tree)
    return casted


def _remember(layer: Layer, remat: Remat) -> Layer:
    """The layer with the activations dropped that the backward pass is to compute again."""
    if remat is Remat.NOTHING:
        return layer
    kept = jax.checkpoint_policies.save_only_these_names(PROJECTION) if remat is Remat.ATTENTION else None
    return jax.checkpoint(layer, policy=kept)


def _is_unrolled(config: ModelConfig, execution: Execution) -> bool:
    if execution.compute.unroll_layers is not None:
        return execution.compute.unroll_layers
    # Measured on two cores: a straight program runs faster; with many layers its compilation costs more than that.
    return jax.default_backend() == "cpu" and config.num_layers <= MAX_UNROLLED_LAYERS
