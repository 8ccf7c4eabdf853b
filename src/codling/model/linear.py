"""The linear layer: one matrix, no bias.

Everything that changes what a linear layer does (adapters, palettized weights) replaces this module in the tree;
the model never asks which kind it holds.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

PROJECTION = "projection"
"""What rematerialization calls a linear layer's output."""


class Linear(eqx.Module):
    """y = x W^T. The weight is stored [out, in], as Hugging Face files hold it, so that no file needs a transpose."""

    weight: Float[Array, "*L O I"]

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        """Apply the layer to the last axis of x."""
        y: Array = checkpoint_name(multiply(x, self.weight.astype(x.dtype)), PROJECTION)  # type: ignore[no-untyped-call]
        return y


@jax.custom_vjp
def multiply(x: Float[Array, "*B I"], weight: Float[Array, "O I"]) -> Float[Array, "*B O"]:
    """x W^T with its own backward pass.

    The gradient of y enters two products, in two layouts. XLA's CPU compiler would compute it anew for the second one,
    element by element in the order of the transposed array, at many times the cost: the barrier makes it an array
    first. Worth 7% of a training step of the quickstart's server (`bench/results/LOG.md`).
    """
    return jnp.einsum("...i,oi->...o", x, weight)


def _forward(x: Array, weight: Array) -> tuple[Array, tuple[Array, Array]]:
    return jnp.einsum("...i,oi->...o", x, weight), (x, weight)


def _backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, weight = saved
    gradient = jax.lax.optimization_barrier(gradient)  # type: ignore[no-untyped-call]
    flat_gradient, flat_x = gradient.reshape(-1, gradient.shape[-1]), x.reshape(-1, x.shape[-1])
    return jnp.einsum("...o,oi->...i", gradient, weight), jnp.einsum("to,ti->oi", flat_gradient, flat_x)


multiply.defvjp(_forward, _backward)
