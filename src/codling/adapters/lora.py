"""Low-rank adapters (arXiv 2106.09685) on every linear layer, by surgery on the model's tree.

Before:  Attention(query=Linear(W), ...)
After:   Attention(query=LoraLinear(base=Linear(W), down=A, up=B), ...)
Split:   the adapter alone (all else None), and the base alone; `eqx.combine` puts them together.

The base may be palettized, with tables that train beside the adapter (`PalettizedLinear`).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from codling.errors import UserError
from codling.model.linear import Linear
from codling.model.palettized_linear import PalettizedLinear
from codling.model.transformer import Transformer

Adaptable = Linear | PalettizedLinear
"""What an adapter may sit on."""


class LoraLinear(eqx.Module):
    """y = base(x) + (x A^T) B^T. No separate scale: B carries it, and files say alpha = rank."""

    base: Adaptable
    down: Float[Array, "*L R I"]
    up: Float[Array, "*L O R"]

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        """Apply base and adapter."""
        reduced = jnp.einsum("...i,ri->...r", x, self.down.astype(x.dtype))
        return self.base(x) + jnp.einsum("...r,or->...o", reduced, self.up.astype(x.dtype))


def attach(model: Transformer, rank: int, key: PRNGKeyArray) -> Transformer:
    """Put a fresh adapter on every linear layer: A normal, deviation 1/sqrt(in), B zero: nothing changes yet.

    Errors: `UserError` when the rank is larger than a layer's smaller dimension.
    """
    count = iter(range(1000))

    def wrap(node: object) -> object:
        if not isinstance(node, Adaptable):
            return node
        *layers, out_dim, in_dim = node.weight.shape
        check_rank(rank, out_dim, in_dim)
        layer_key = jax.random.fold_in(key, next(count))
        down = jax.random.normal(layer_key, (*layers, rank, in_dim)) / in_dim**0.5
        return LoraLinear(node, down, jnp.zeros((*layers, out_dim, rank)))

    return jax.tree.map(wrap, model, is_leaf=lambda node: isinstance(node, Adaptable))  # type: ignore[no-any-return]


def check_rank(rank: int, out_dim: int, in_dim: int) -> None:
    """Raise a `UserError` for a rank that does not fit a layer."""
    if not 0 < rank <= min(out_dim, in_dim):
        raise UserError(f"adapter rank {rank} does not fit a layer of {out_dim} x {in_dim}")


def split(model: Transformer, *, with_tables: bool = False) -> tuple[Transformer, Transformer]:
    """(what trains, the rest): the same tree twice, each with None where the other has its arrays.

    What trains are the adapters, and with `with_tables` the shifts of tables and row scales under them.
    """

    def marks(node: object) -> object:
        nowhere = jax.tree.map(lambda _: False, node)
        if not isinstance(node, LoraLinear):
            return nowhere
        marked = eqx.tree_at(lambda lora: (lora.down, lora.up), nowhere, (True, True))
        if not with_tables or not isinstance(node.base, PalettizedLinear):
            return marked
        return eqx.tree_at(lambda lora: (lora.base.table_shifts, lora.base.row_shifts), marked, (True, True))

    spec = jax.tree.map(marks, model, is_leaf=lambda node: isinstance(node, LoraLinear))
    trained, rest = eqx.partition(model, spec)
    return trained, rest


def merge(model: Transformer) -> Transformer:
    """Fold every adapter into its base weight: W + B A. The model is plain again."""

    def fold(node: object) -> object:
        if isinstance(node, PalettizedLinear):
            return Linear(node.weight)
        if not isinstance(node, LoraLinear):
            return node
        return Linear(node.base.weight + jnp.einsum("...or,...ri->...oi", node.up, node.down))

    return jax.tree.map(fold, model, is_leaf=lambda node: isinstance(node, LoraLinear | PalettizedLinear))  # type: ignore[no-any-return]
