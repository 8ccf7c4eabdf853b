"""Low-rank adapters (arXiv 2106.09685) on every linear layer, by surgery on the model's tree.

Before:  Attention(query=Linear(W), ...)
After:   Attention(query=LoraLinear(base=Linear(W), down=A, up=B), ...)
Split:   the adapter alone (all else None), and the base alone; `eqx.combine` puts them together.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from codling.errors import UserError
from codling.model.linear import Linear
from codling.model.transformer import Transformer


class LoraLinear(eqx.Module):
    """y = base(x) + (x A^T) B^T. No separate scale: B carries it, and files say alpha = rank."""

    base: Linear
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
        if not isinstance(node, Linear):
            return node
        *layers, out_dim, in_dim = node.weight.shape
        if not 0 < rank <= min(out_dim, in_dim):
            raise UserError(f"adapter rank {rank} does not fit a layer of {out_dim} x {in_dim}")
        layer_key = jax.random.fold_in(key, next(count))
        down = jax.random.normal(layer_key, (*layers, rank, in_dim)) / in_dim**0.5
        return LoraLinear(node, down, jnp.zeros((*layers, out_dim, rank)))

    return jax.tree.map(wrap, model, is_leaf=lambda node: isinstance(node, Linear))  # type: ignore[no-any-return]


def attach_residual(model: Transformer, original: Transformer, rank: int) -> Transformer:
    """Put on every linear layer the adapter of this rank nearest to original - model, in the Frobenius norm.

    Source: the truncated singular value decomposition (Eckart-Young); as a start for recovery, arXiv
    2310.08659.
    """

    def wrap(node: object, target: object) -> object:
        if not isinstance(node, Linear) or not isinstance(target, Linear):
            return node
        if not 0 < rank <= min(node.weight.shape[-2:]):
            raise UserError(
                f"adapter rank {rank} does not fit a layer of {' x '.join(map(str, node.weight.shape[-2:]))}"
            )
        left, singular, right = jnp.linalg.svd(target.weight - node.weight, full_matrices=False)
        root = jnp.sqrt(singular[..., :rank])
        return LoraLinear(node, root[..., :, None] * right[..., :rank, :], left[..., :, :rank] * root[..., None, :])

    return jax.tree.map(wrap, model, original, is_leaf=lambda node: isinstance(node, Linear))  # type: ignore[no-any-return]


def split(model: Transformer) -> tuple[Transformer, Transformer]:
    """(adapter, base): the same tree twice, each with None where the other has its arrays."""

    def marks(node: object) -> object:
        nowhere = jax.tree.map(lambda _: False, node)
        if not isinstance(node, LoraLinear):
            return nowhere
        return eqx.tree_at(lambda lora: (lora.down, lora.up), nowhere, (True, True))

    spec = jax.tree.map(marks, model, is_leaf=lambda node: isinstance(node, LoraLinear))
    adapter, base = eqx.partition(model, spec)
    return adapter, base


def merge(model: Transformer) -> Transformer:
    """Fold every adapter into its base weight: W + B A. The model is plain again."""

    def fold(node: object) -> object:
        if not isinstance(node, LoraLinear):
            return node
        return Linear(node.base.weight + jnp.einsum("...or,...ri->...oi", node.up, node.down))

    return jax.tree.map(fold, model, is_leaf=lambda node: isinstance(node, LoraLinear))  # type: ignore[no-any-return]
