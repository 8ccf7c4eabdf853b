"""The SwiGLU feed-forward layer (arXiv 2002.05202)."""

import equinox as eqx
import jax
from jaxtyping import Array, Float

from codling.model.linear import Linear


class FeedForward(eqx.Module):
    """y = down(silu(gate(x)) * up(x)). The F hidden units are what pruning removes."""

    gate: Linear
    up: Linear
    down: Linear

    def hidden_units(self, x: Float[Array, "B T D"]) -> Float[Array, "B T F"]:
        """The activations that enter the down projection."""
        return jax.nn.silu(self.gate(x)) * self.up(x)

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Apply the layer."""
        return self.down(self.hidden_units(x))
