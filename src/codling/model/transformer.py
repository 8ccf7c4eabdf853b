"""The language model (arXiv 2407.21075 section 2.1): decoder-only, pre-norm, one matrix for both embeddings.

The same block as the public Qwen3 family, so a model can be written as a `Qwen3ForCausalLM` checkpoint
without loss. Layers are stacked: every leaf of `blocks` has a leading axis of num_layers. They are scanned,
or unrolled into one straight program, which a CPU runs about a quarter faster at the price of a longer
compilation.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from codling.model.block import Block
from codling.model.config import ModelConfig
from codling.model.kv_cache import KVCache
from codling.model.norm import RMSNorm
from codling.model.packed_rows import PackedRows
from codling.model.rope import rotary


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
        *,
        rope_theta: float,
        unroll: bool = False,
    ) -> Float[Array, "B T D"]:
        """Run complete rows, in which a token sees the earlier tokens of its own segment."""
        angles = rotary(positions, self.config.head_dim, rope_theta)
        rows = PackedRows(segment_ids)

        def layer(x: Array, block: Block) -> tuple[Array, None]:
            return block(x, angles, rows)[0], None

        num_unrolled = self.config.num_layers if unroll else 1
        x, _ = jax.lax.scan(layer, self.embedding[tokens], self.blocks, unroll=num_unrolled)
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

    def logits(self, hidden: Float[Array, "*B D"]) -> Float[Array, "*B V"]:
        """Scores of every vocabulary entry. A loss over many tokens uses `train.loss`, in chunks."""
        return jnp.einsum("...d,vd->...v", hidden, self.embedding.astype(hidden.dtype))
