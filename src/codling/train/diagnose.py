"""Which parameters' gradients are not finite: asked once, when a step has failed.

The step itself only looks at the norm of all gradients, which clipping needs anyway. Since a failed step leaves state
and batch as they were, its gradients can be computed again, which costs a compilation then and nothing at any other
step.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PRNGKeyArray, PyTree

from codling.train.fingerprint import named_arrays
from codling.train.parameter_blocks import block_axes
from codling.train.state import TrainState
from codling.train.step import Gradients

MAX_NAMED = 3


def blame(
    gradients_of: Gradients[Any], state: TrainState[Any], frozen: PyTree, batch: PyTree, key: PRNGKeyArray
) -> str:
    """Name the first parameters whose gradient in this step is not finite, layer by layer where layers are stacked."""

    @jax.jit
    def find(state: TrainState[Any], frozen: PyTree, batch: PyTree, key: PRNGKeyArray) -> PyTree:
        gradients, _ = gradients_of(state, frozen, batch, key)

        def is_bad(gradient: Array, axes: tuple[int, ...]) -> Bool[Array, "..."]:
            return ~jnp.all(jnp.isfinite(gradient), axis=axes)

        return jax.tree.map(is_bad, gradients, block_axes(state.params))

    names = [
        name for path, flags in named_arrays(find(state, frozen, batch, key)).items() for name in _bad(path, flags)
    ]
    if not names:
        return "every gradient is finite, their norm or the loss is not"
    rest = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"not finite is the gradient of {', '.join(names[:MAX_NAMED])}{rest}"


def _bad(path: str, flags: Bool[Array, "..."]) -> list[str]:
    if flags.ndim == 0:
        return [path] if flags else []
    return [f"{path} [layer {layer}]" for layer in jnp.flatnonzero(flags)]
