"""All that changes while a stage trains, as one tree: checkpoint, copy and donate act on it as a whole."""

from typing import Generic, TypeVar

import equinox as eqx
import jax.numpy as jnp
import optax  # type: ignore[import-untyped]
from jaxtyping import Array, Int, PyTree

P = TypeVar("P")


class TrainState(eqx.Module, Generic[P]):
    """Parameters under training, what the optimizer remembers, and the number of updates done."""

    params: P
    optimizer_state: PyTree
    step: Int[Array, ""]


def init_state(params: P, optimizer: optax.GradientTransformation) -> TrainState[P]:
    """The state before the first step."""
    return TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))
