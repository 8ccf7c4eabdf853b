"""The optimizer of a stage: a rule that turns gradients into directions, and the rates that a step applies.

The rates are arguments of the update and not constants in it, so that stages of the same model share one compiled step.
"""

from typing import NamedTuple

import jax
import numpy as np
import optax  # type: ignore[import-untyped]
from jaxtyping import Array, Float, PyTree

from codling.config import config
from codling.model.norm import RMSNorm
from codling.train.schedule import ScheduleConfig, rates_of_updates


@config
class AdamWConfig:
    """AdamW (arXiv 1711.05101) behind a clip of the global gradient norm."""

    momentum_decay: float = 0.9
    """Decay of the first moment."""
    second_moment_decay: float = 0.95
    max_gradient_norm: float = 1.0
    """Gradients of a larger global norm are scaled down to it (AXLearn: 1.0)."""


@config
class OptimizerConfig:
    """The rule, its rate over time, and the decay."""

    schedule: ScheduleConfig
    rule: AdamWConfig = AdamWConfig()
    weight_decay: float = 0.1
    """Decoupled; follows the schedule. Applies to matrices, not to norm scales."""


class Rates(NamedTuple):
    """What one update multiplies with."""

    learning: np.float32 | Float[Array, ""]
    """Of the rule's direction."""
    decay: np.float32 | Float[Array, ""]
    """Of the parameters themselves."""


def rates_of_stage(config: OptimizerConfig, num_steps: int) -> list[Rates]:
    """The rates of every update of a stage, in order."""
    learning = rates_of_updates(config.schedule, num_steps)
    return [Rates(rate, rate * np.float32(config.weight_decay)) for rate in learning]


def build_optimizer(rule: AdamWConfig) -> optax.GradientTransformationExtraArgs:
    """The rule as an Optax transformation, whose update wants `rates: Rates` as well."""
    direction = optax.chain(
        optax.clip_by_global_norm(rule.max_gradient_norm),
        optax.scale_by_adam(b1=rule.momentum_decay, b2=rule.second_moment_decay),
    )

    def update(gradients: PyTree, state: PyTree, params: PyTree, *, rates: Rates) -> tuple[PyTree, PyTree]:
        # Optax multiplies its integer step counts with floats, which our own code is not allowed to.
        with jax.numpy_dtype_promotion("standard"):
            directions, state = direction.update(gradients, state, params)

        def combine(direction: PyTree, param: PyTree, is_decayed: bool) -> PyTree:
            step = rates.learning * direction
            return -(step + rates.decay * param) if is_decayed else -step

        return jax.tree.map(combine, directions, params, _is_decayed(params)), state

    return optax.GradientTransformationExtraArgs(direction.init, update)


def _is_decayed(params: PyTree) -> PyTree:
    def is_norm(node: object) -> bool:
        return isinstance(node, RMSNorm)

    return jax.tree.map(lambda node: jax.tree.map(lambda leaf: not is_norm(node), node), params, is_leaf=is_norm)
