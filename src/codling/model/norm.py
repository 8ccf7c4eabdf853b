"""Root-mean-square normalization (arXiv 1910.07467): no mean subtraction, no bias."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class RMSNorm(eqx.Module):
    """y = x / sqrt(mean(x^2) + epsilon) * scale, over the last axis; the mean is taken in float32."""

    scale: Float[Array, " *L D"]
    epsilon: float = eqx.field(static=True)

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        """Normalize the last axis of x."""
        x32 = x.astype(jnp.float32)
        inverse = jax.lax.rsqrt(jnp.mean(jnp.square(x32), axis=-1, keepdims=True) + self.epsilon)
        scale = self.scale.reshape((1,) * (x.ndim - 1) + self.scale.shape)
        return (x32 * inverse).astype(x.dtype) * scale.astype(x.dtype)
