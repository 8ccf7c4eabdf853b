"""A model with its channels rotated: the same function of other weights, which may be easier to palettize.

Where in the recipe: before palettization, if asked for (not in arXiv 2407.21075; rotations by Hadamard matrices as in
QuaRot, arXiv 2404.00456, without its rotations at run time). R is orthogonal; both leave nothing to be done by whoever
runs the model.

Values:   attention takes sums of values, so v = R W_v x and W_o R^T undo each other: the rows of each value head, and
          the columns of the output projection that belong to each query head, which reads one of them.
Residual: a norm without scales commutes with R. The scales of each block's norms are folded into the linear layers
          that read it, then the embedding and all that writes to the residual stream are rotated, and all that reads it
          is rotated back. Here the embedding is read at the end, too, after the final norm: its scale must not tell
          channels apart that R mixes.

The function is the same and the weights are not: what compares weights with those of the model as it was, as the start
of a recovery adapter does, has to rotate that one as well.
"""

from collections.abc import Callable
from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from codling.artifact.hf import FINAL_NORM_NAME, LAYER_NAMES
from codling.compress.hadamard import num_turned_together, turned
from codling.errors import UserError
from codling.model.block import Block
from codling.model.norm import RMSNorm
from codling.ondevice.blocks import Blocks
from codling.ondevice.input_moments import linears, with_weights

VALUE, OUTPUT = "attention.value", "attention.output"
READERS = {
    "attention_norm": ("attention.query", "attention.key", VALUE),
    "feed_forward_norm": ("feed_forward.gate", "feed_forward.up"),
}
"""The linear layers of a block that read the residual stream, by the norm before them."""
WRITERS = (OUTPUT, "feed_forward.down")
"""Those that write to it."""
SAME_SCALE = 1e-6
"""Relative difference of scales that are taken for equal."""


@final
class RotatedBlocks:
    """A model's blocks, rotated as they are read."""

    def __init__(self, model: Blocks, *, values: bool, residual: bool) -> None:
        """Errors: `UserError` for a model whose residual stream cannot be rotated."""
        if residual:
            check_final_norm(model.final_norm)
        self.config = model.config
        self._model, self._values, self._residual = model, values, residual

    @property
    def embedding(self) -> Float[Array, "V D"]:
        """Input and output embedding."""
        embedding = self._model.embedding
        return jnp.asarray(turned(np.asarray(embedding), 1)) if self._residual else embedding

    @property
    def final_norm(self) -> RMSNorm:
        """The norm before the output embedding."""
        return self._model.final_norm

    def block(self, layer: int) -> Block:
        """The block of a layer."""
        block = self._model.block(layer)
        if self._residual:
            block = with_residual_rotated(block)
        return with_values_rotated(block) if self._values else block

    def changed_vectors(self) -> dict[str, Float[np.ndarray, " D"]]:
        """The norm scales that differ from the model's, by their names in a file."""
        if not self._residual:
            return {}
        names = [LAYER_NAMES[f"{norm}.scale"] for norm in READERS]
        return {
            f"model.layers.{layer}.{name}": np.ones(self.config.model_dim, np.float32)
            for layer in range(self.config.num_layers)
            for name in names
        }


def check_final_norm(final_norm: RMSNorm) -> None:
    """Raise a `UserError` where the final norm's scale does not commute with a rotation."""
    scale = np.asarray(final_norm.scale)
    blocks = scale.reshape(-1, num_turned_together(len(scale)))
    spread = float((blocks.max(axis=1) - blocks.min(axis=1)).max())
    if spread > SAME_SCALE * float(np.abs(scale).max()):
        raise UserError(
            f"the residual stream cannot be rotated: {FINAL_NORM_NAME} has scales from {scale.min():.3g} to "
            f"{scale.max():.3g}, and must be constant as input and output embedding are one; values can be rotated"
        )


def with_values_rotated(block: Block) -> Block:
    """Each head's values, rotated by the rows that make them, and back by the columns that read them."""
    head_dim = block.attention.head_dim
    made, read = np.asarray(block.attention.value.weight), np.asarray(block.attention.output.weight)
    made_by_head = turned(made.reshape(-1, head_dim, made.shape[1]), 1)
    read_by_head = turned(read.reshape(len(read), -1, head_dim), 2)
    changed = {VALUE: made_by_head.reshape(made.shape), OUTPUT: read_by_head.reshape(read.shape)}
    return with_weights(block, changed)


def with_residual_rotated(block: Block) -> Block:
    """Columns of what reads the residual stream, norm scales folded in; rows of what writes to it."""
    weights = {path: np.asarray(linear.weight) for path, linear in linears(block)}
    changed = {path: turned(weights[path], 0) for path in WRITERS}
    for norm, paths in READERS.items():
        scale = getattr(block, norm).scale
        changed |= {path: turned(weights[path] * np.asarray(scale), 1) for path in paths}
        block = eqx.tree_at(_scale_of(norm), block, jnp.ones_like(scale))
    return with_weights(block, changed)


def _scale_of(norm: str) -> Callable[[Block], Array]:
    return lambda block: getattr(block, norm).scale
