"""What a change of one block costs a model, measured: the model is run from there to its end.

Where in the recipe: between the estimate of sensitivities (`output_importance`) and the integer program, if asked for.
The estimate is of second order, and takes the errors of different outputs and tokens for independent of each other;
this takes nothing for granted but the calibration text.

Price: with L layers of M matrices and W widths, L^2 / 2 * M * W passes of a block over the measured rows, and
L * M * W times their logits; all blocks are in memory. For models that fit and are run in seconds.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from codling.model.block import Block
from codling.model.norm import RMSNorm
from codling.ondevice.blocks import Blocks
from codling.ondevice.input_moments import Hidden, advance

MEASURED_BATCHES = 2
"""Of the calibration text."""


class MeasuredSensitivity:
    """A model, and the rows before each of its blocks: `before[layer]` are batches, `before[-1]` those at the end."""

    def __init__(self, model: Blocks, before: Sequence[Sequence[Hidden]]) -> None:
        self._before = [batches[:MEASURED_BATCHES] for batches in before]
        self._blocks = [model.block(layer) for layer in range(model.config.num_layers)]
        self._ends = model.embedding, model.final_norm
        self._shape = model.config.head_dim, model.config.rope_theta
        self._num_tokens = sum(int((np.asarray(hidden.segment_ids) > 0).sum()) for hidden in self._before[-1])

    def nats_per_token(self, layer: int, changed: Block) -> float:
        """Divergence from the model as it is, with another block in one layer; never below zero."""
        total = 0.0
        for rows, dense in zip(self._before[layer], self._before[-1], strict=True):
            hidden = rows
            for block in (changed, *self._blocks[layer + 1 :]):
                hidden = advance(block, hidden, *self._shape)
            total += float(divergence_at_end(*self._ends, dense, hidden))
        # Of distributions that are all but equal, rounding makes less than nothing.
        return max(0.0, total / self._num_tokens)


@eqx.filter_jit
def divergence_at_end(
    embedding: Float[Array, "V D"], final_norm: RMSNorm, dense: Hidden, changed: Hidden
) -> Float[Array, ""]:
    """KL(dense || changed) of the distributions of the next token, in nats, summed over tokens.

    Row by row: the logits of one row are alive at once.
    """

    def of_row(row: tuple[Float[Array, "T D"], Float[Array, "T D"], Bool[Array, " T"]]) -> Float[Array, ""]:
        before, after = (
            jax.nn.log_softmax(jnp.einsum("td,vd->tv", final_norm(x), embedding), axis=-1) for x in row[:2]
        )
        return jnp.sum(jnp.where(row[2], jnp.sum(jnp.exp(before) * (before - after), axis=-1), 0.0))

    total: Array = jnp.sum(jax.lax.map(of_row, (dense.x, changed.x, dense.segment_ids > 0)))
    return total
