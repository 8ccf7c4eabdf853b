"""What optimizers want to know about a parameter: where one layer's ends, and whether it decays."""

import jax
from jaxtyping import PyTree

from codling.model.block import Block
from codling.model.norm import RMSNorm


def block_axes(params: PyTree) -> PyTree:
    """The axes of every parameter that belong to one layer: all but the first in stacked layers, else all."""

    def axes_of(node: PyTree) -> PyTree:
        first = 1 if isinstance(node, Block) else 0
        return jax.tree.map(lambda leaf: tuple(range(first, leaf.ndim)), node)

    return jax.tree.map(axes_of, params, is_leaf=lambda node: isinstance(node, Block))


def is_norm_scale(params: PyTree) -> PyTree:
    """True at the scales of norms."""

    def mark(node: PyTree) -> PyTree:
        return jax.tree.map(lambda _: isinstance(node, RMSNorm), node)

    return jax.tree.map(mark, params, is_leaf=lambda node: isinstance(node, RMSNorm))
