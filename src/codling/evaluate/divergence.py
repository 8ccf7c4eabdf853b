"""How far a compressed model has moved from the one that it was made of, on the tokens of held-out text.

Perplexity alone hides it: a model may lose on some tokens what it wins on others by chance. The divergence is taken
over the whole vocabulary, of every token by itself, so that its tail shows too.

Source: what compressed models are commonly judged by, as llama.cpp's `llama-perplexity --kl-divergence` (its mean, its
99th percentile, "same top p"). Differs: every position with a loss weight counts, not the second half of a context.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float

from codling.data.loader import Batch
from codling.model.transformer import Transformer
from codling.train.sharding import by_rows, local_copies, local_mesh

TAIL_PERCENT = 99


class Divergence(NamedTuple):
    """A compressed model next to the dense one, over all positions whose loss weight is above 0."""

    perplexity: float
    """Of the compressed model."""
    mean_nats: float
    """KL(dense || compressed) of the next token's distribution, a mean over tokens."""
    tail_nats: float
    """Its TAIL_PERCENT-th percentile."""
    top_1_agreement: float
    """Share of the tokens of which both models' first choice is the same."""
    num_tokens: int


class _TokenFigures(NamedTuple):
    nll: Float[Array, "B T"]
    nats: Float[Array, "B T"]
    agree: Bool[Array, "B T"]


def measure_divergence(compressed: Transformer, dense: Transformer, batches: Sequence[Batch]) -> Divergence:
    """Compare two models of one shape on the same rows.

    Price: both models run once over the batches; what is kept are three numbers a token.
    Errors: `ValueError` where no position has a loss weight.
    """
    found: list[tuple[np.ndarray, ...]] = []
    for batch in batches:
        mesh = local_mesh(len(batch.tokens))
        compressed, dense = local_copies((compressed, dense), mesh)
        figures = jax.device_get(_measure((compressed, dense), batch, mesh))
        found.append(tuple(values[batch.loss_weights > 0] for values in figures))
    nll, nats, agree = (np.concatenate(column).astype(np.float64) for column in zip(*found, strict=True))
    if not nll.size:
        raise ValueError("no position of the batches has a loss weight above 0")
    return Divergence(
        math.exp(nll.mean()),
        float(nats.mean()),
        float(np.percentile(nats, TAIL_PERCENT)),
        float(agree.mean()),
        nll.size,
    )


@partial(jax.jit, static_argnames="mesh")
def _measure(models: tuple[Transformer, Transformer], batch: Batch, mesh: Mesh) -> _TokenFigures:
    return by_rows(_measure_rows, mesh)(models, batch)


def _measure_rows(models: tuple[Transformer, Transformer], batch: Batch) -> _TokenFigures:
    """Logits are alive for one row at a time."""
    tokens, positions, segment_ids = map(jnp.asarray, (batch.tokens, batch.positions, batch.segment_ids))
    compressed, dense = models

    def run(model: Transformer) -> Float[Array, "B T D"]:
        hidden: Array = model(tokens, positions, segment_ids, rope_theta=model.config.rope_theta)
        return hidden

    def measure_row(row: tuple[Array, Array, Array]) -> _TokenFigures:
        compressed_hidden, dense_hidden, targets = row
        ours = jax.nn.log_softmax(compressed.logits(compressed_hidden).astype(jnp.float32))
        theirs = jax.nn.log_softmax(dense.logits(dense_hidden).astype(jnp.float32))
        nll = -jnp.take_along_axis(ours, targets[:, None], axis=-1)[:, 0]
        nats = jnp.sum(jnp.exp(theirs) * (theirs - ours), axis=-1)
        return _TokenFigures(nll, nats, ours.argmax(axis=-1) == theirs.argmax(axis=-1))

    figures: _TokenFigures = jax.lax.map(measure_row, (run(compressed), run(dense), batch.targets))
    return figures
