"""Rotary position embedding (arXiv 2104.09864), with the base as an argument.

Nothing is cached between calls: the base changes between training stages, and a table that outlives one call
would keep serving the old base.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Rotary(NamedTuple):
    """Cosine and sine of every position's angle; half a head wide."""

    cosine: Float[Array, "B T H/2"]
    sine: Float[Array, "B T H/2"]


def rotary(positions: Int[Array, "B T"], head_dim: int, theta: float) -> Rotary:
    """Angles position * theta^(-2i/H) for i < H/2, in float32 whatever the model computes in."""
    exponents = jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim
    frequencies = jnp.asarray(theta, jnp.float32) ** -exponents
    angles = positions.astype(jnp.float32)[:, :, None] * frequencies[None, None, :]
    return Rotary(jnp.cos(angles), jnp.sin(angles))


def rotate(heads: Float[Array, "B T N H"], angles: Rotary) -> Float[Array, "B T N H"]:
    """Rotate dimension i of each head with dimension i + H/2 (the half-split pairing of Hugging Face)."""
    dtype = heads.dtype
    cosine = angles.cosine[:, :, None, :].astype(dtype)
    sine = angles.sine[:, :, None, :].astype(dtype)
    first, second = jnp.split(heads, 2, axis=-1)
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
