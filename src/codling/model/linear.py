"""The linear layer: one matrix, no bias.

Everything that changes what a linear layer does (adapters, palettized weights) replaces this module in the
tree; the model never asks which kind it holds.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class Linear(eqx.Module):
    """y = x W^T. The weight is [out, in], as in Hugging Face files, so that no file needs a transpose."""

    weight: Float[Array, "*L O I"]

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        """Apply the layer to the last axis of x."""
        return jnp.einsum("...i,oi->...o", x, self.weight.astype(x.dtype))
