"""AdaStar, the optimizer of pre-training: RMSProp with momentum on the normalized, clipped update.

Source: AXLearn `optimizers.adastar_optimizer` as its honeycrisp models configure it; the report (arXiv 2407.21075
section 2.3.1) says "RMSProp with momentum". Unlike AdamW's, its momentum smooths what is already normalized and
clipped, and is not bias-corrected, so that it warms up by itself; the decay does not depend on the peak rate.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax  # type: ignore[import-untyped]
from jaxtyping import Array, Int, PyTree

from codling.config import config
from codling.train.mup import BASE_MODEL_DIM, update_scales
from codling.train.parameter_blocks import block_axes

TINY = 1e-30
"""Added to squared gradients, so that a parameter without a gradient has an update of zero and not of 0 / 0."""


@config
class AdaStarConfig:
    """What the rule does with a gradient; rates and decay are in `OptimizerConfig`."""

    name: Literal["adastar"] = "adastar"
    momentum_decay: float = 0.95
    """Of the normalized update (AXLearn: 0.95; the report: 0.9)."""
    second_moment_decay: float = 0.95
    max_gradient_norm: float = 1.0
    """Gradients of a larger global norm are scaled down to it."""
    drop_gradient_norm: float | None = 100.0
    """A step whose gradients have a larger global norm changes neither parameters nor moments."""
    decays_norm_scales: bool = True
    max_update_rms: float = 1.0
    """Normalized updates of a larger root mean square, per matrix or vector of a layer, are scaled down to it."""
    mup_base_model_dim: int | None = BASE_MODEL_DIM
    """Width up to which hidden layers update at the full rate (mu-P, simple form); none: at any width."""


class AdaStarState(NamedTuple):
    """Moments of every parameter."""

    num_updates: Int[Array, ""]
    second_moment: PyTree
    momentum: PyTree


def scale_by_adastar(rule: AdaStarConfig) -> optax.GradientTransformation:
    """Clipped gradients to directions. Stacked layers [L, ...] count as L blocks, as in AXLearn."""

    def init(params: PyTree) -> AdaStarState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return AdaStarState(jnp.zeros((), jnp.int32), zeros, jax.tree.map(jnp.zeros_like, params))

    def update(gradients: PyTree, state: AdaStarState, params: PyTree) -> tuple[PyTree, AdaStarState]:
        num_updates = state.num_updates + 1
        correction = 1.0 - rule.second_moment_decay ** num_updates.astype(jnp.float32)

        def moment(gradient: Array, moment: Array) -> Array:
            square = jnp.square(gradient) + TINY
            return rule.second_moment_decay * moment + (1.0 - rule.second_moment_decay) * square

        def smooth(gradient: Array, moment: Array, momentum: Array, axes: tuple[int, ...]) -> Array:
            raw = gradient * jax.lax.rsqrt(moment / correction)
            rms = jnp.sqrt(jnp.mean(jnp.square(raw), axis=axes, keepdims=True))
            clipped = raw / jnp.maximum(1.0, rms / rule.max_update_rms)
            return rule.momentum_decay * momentum + (1.0 - rule.momentum_decay) * clipped

        second_moment = jax.tree.map(moment, gradients, state.second_moment)
        momentum = jax.tree.map(smooth, gradients, second_moment, state.momentum, block_axes(params))
        directions = jax.tree.map(jnp.multiply, momentum, update_scales(params, rule.mup_base_model_dim))
        return directions, AdaStarState(num_updates, second_moment, momentum)

    return optax.GradientTransformation(init, update)
