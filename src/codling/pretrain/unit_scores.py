"""What a hidden unit of a feed-forward layer is worth, judged without training: by its weights, or on sample text."""

import enum
from collections.abc import Iterable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from codling.data.loader import Batch
from codling.model.block import Block
from codling.model.packed_rows import PackedRows
from codling.model.rope import rotary
from codling.model.transformer import Transformer


class Method(enum.StrEnum):
    """How pruning chooses the units that it keeps."""

    SOFT_TOPK = "soft_topk"
    """A mask that is learned (arXiv 2407.21075 section 2.2.2)."""
    CONTRIBUTION = "contribution"
    """The mean size of what the unit adds to the residual stream, E|h_f| * ||down[:, f]||."""
    MEAN_ACTIVATION = "mean_activation"
    """E|h_f|."""
    WEIGHT_NORM = "weight_norm"
    """The norm of all of the unit's weights: its rows of gate and up, its column of down."""
    RANDOM = "random"
    """By lot: what every other choice must beat."""


class Share(NamedTuple):
    """Batches of one kind of text, and its share of the mixture."""

    share: float
    batches: Iterable[Batch]


def unit_scores(method: Method, model: Transformer, sample: Iterable[Share], key: PRNGKeyArray) -> Float[Array, "L F"]:
    """The worth of every hidden unit of every layer; only the order within a layer means anything.

    The sample is read by the two methods that look at activations, the key is used by `random`.
    """
    ffn = model.blocks.feed_forward
    columns: Array = jnp.linalg.norm(ffn.down.weight, axis=1)
    if method is Method.RANDOM:
        return jax.random.uniform(key, (model.config.num_layers, model.config.ffn_dim))
    if method is Method.WEIGHT_NORM:
        gate_and_up = jnp.concatenate([ffn.gate.weight, ffn.up.weight], axis=2)
        return jnp.hypot(jnp.linalg.norm(gate_and_up, axis=2), columns)
    size = mean_activations(model, sample)
    if method is Method.MEAN_ACTIVATION:
        return size
    if method is Method.CONTRIBUTION:
        return size * columns
    raise ValueError(f"{method} scores are learned, not computed")


def mean_activations(model: Transformer, sample: Iterable[Share]) -> Float[Array, "L F"]:
    """E|h_f| over a sample of the mixture, for every hidden unit of every layer."""
    total, num_tokens = jnp.zeros((model.config.num_layers, model.config.ffn_dim)), 0.0
    for part in sample:
        for batch in part.batches:
            total += part.share * _sum_of_sizes(model, batch)
            num_tokens += part.share * float((batch.segment_ids > 0).sum())
    return total / num_tokens


@eqx.filter_jit
def _sum_of_sizes(model: Transformer, batch: Batch) -> Float[Array, "L F"]:
    tokens, positions, segment_ids = (jnp.asarray(x) for x in (batch.tokens, batch.positions, batch.segment_ids))
    angles = rotary(positions, model.config.head_dim, model.config.rope_theta)
    rows = PackedRows(segment_ids)

    def layer(x: Array, block: Block) -> tuple[Array, Array]:
        attended, _ = block.attention(block.attention_norm(x), angles, rows)
        x = x + attended
        units = block.feed_forward.hidden_units(block.feed_forward_norm(x))
        is_text = (segment_ids > 0).astype(units.dtype)
        return x + block.feed_forward.down(units), jnp.einsum("btf,bt->f", jnp.abs(units), is_text)

    _, sizes = jax.lax.scan(layer, model.embedding[tokens], model.blocks)
    return sizes
