"""Grouped-query attention with normalized queries and keys (arXiv 2407.21075 section 2.1).

What a query may see is not decided here: the layer hands its new queries, keys and values to a `Context`,
which attends over everything visible. Training uses `PackedRows`, generation a `KVCache`; the layer is one
program for both.
"""

import abc
import math
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from codling.model.linear import Linear
from codling.model.norm import RMSNorm
from codling.model.rope import Rotary, rotate

C = TypeVar("C", bound="Context")


class Context(eqx.Module):
    """What the queries of one layer attend to."""

    @abc.abstractmethod
    def attend(
        self: C,
        queries: Float[Array, "B T N H"],
        keys: Float[Array, "B T K H"],
        values: Float[Array, "B T K H"],
    ) -> tuple[Float[Array, "B T N H"], C]:
        """Add the new keys and values; attend to all that is visible. The context comes back grown."""

    def collect(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """From the residual stream, as it lies on the mesh, to the input of matrix products; here: as it is."""
        return x

    def spread(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """From the output of matrix products back to the residual stream; here: as it is."""
        return x


def attend_masked(
    queries: Float[Array, "B T N H"],
    keys: Float[Array, "B S K H"],
    values: Float[Array, "B S K H"],
    mask: Bool[Array, "B T S"],
    *,
    is_scaled: bool = False,
) -> Float[Array, "B T N H"]:
    """softmax(Q K^T / sqrt(H)) V where the mask is true; each key/value head serves N / K query heads.

    The whole score matrix is alive at once: fit for a few queries (generation) and as the reference for
    anything cleverer. The softmax is float32. A query that sees nothing (padding) gets the mean of the
    values, not NaN.
    """
    batch, length, _, head_dim = queries.shape
    grouped = queries.reshape(batch, length, keys.shape[2], -1, head_dim)
    scores = jnp.einsum("btkgh,bskh->bkgts", grouped * (1.0 if is_scaled else 1.0 / math.sqrt(head_dim)), keys)
    scores = jnp.where(mask[:, None, None], scores.astype(jnp.float32), np.finfo(np.float32).min)
    weights = jax.nn.softmax(scores, axis=-1).astype(queries.dtype)
    return jnp.einsum("bkgts,bskh->btkgh", weights, values).reshape(queries.shape)


class Attention(eqx.Module):
    """Project, normalize, rotate, attend, project back."""

    query: Linear
    key: Linear
    value: Linear
    output: Linear
    query_norm: RMSNorm | None
    key_norm: RMSNorm | None
    head_dim: int = eqx.field(static=True)

    def __call__(self, x: Float[Array, "B T D"], angles: Rotary, context: C) -> tuple[Float[Array, "B T D"], C]:
        """Attend from x to what the context makes visible."""
        queries, keys, values = (self._heads(layer(x)) for layer in (self.query, self.key, self.value))
        if self.query_norm is not None and self.key_norm is not None:
            queries, keys = self.query_norm(queries), self.key_norm(keys)
        attended, context = context.attend(rotate(queries, angles), rotate(keys, angles), values)
        return self.output(attended.reshape(*x.shape[:2], -1)), context

    def _heads(self, x: Float[Array, "B T NH"]) -> Float[Array, "B T N H"]:
        return x.reshape(*x.shape[:2], -1, self.head_dim)
