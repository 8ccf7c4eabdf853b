"""The optimizer of a stage: a rule that turns gradients into directions, and the rates that a step applies to them.

    update = -(learning_rate * direction + decay_rate * parameter)

The rates are arguments of the update and not constants in it, so that stages of the same model share one compiled step.
"""

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]
import pydantic
from jaxtyping import Array, Float, PyTree

from codling.config import config
from codling.train.adamw import AdamWConfig, scale_by_adamw
from codling.train.adastar import AdaStarConfig, scale_by_adastar
from codling.train.parameter_blocks import is_norm_scale
from codling.train.schedule import ScheduleConfig, rates_of_updates

Rule = AdaStarConfig | AdamWConfig
ADASTAR_DECAY, ADAMW_DECAY = 3.16e-4, 0.1


@config
class OptimizerConfig:
    """The rule, its rate over time, and the decay."""

    schedule: ScheduleConfig
    rule: Annotated[Rule, pydantic.Field(discriminator="name")] = AdaStarConfig()
    weight_decay: float | None = None
    """Decoupled, and following the schedule. AdaStar: times the rate's fraction of its peak (none: the report's
    3.16e-4). AdamW: times the rate (none: 0.1)."""


class Rates(NamedTuple):
    """What one update multiplies with."""

    learning: np.float32 | Float[Array, ""]
    """The rule's direction."""
    decay: np.float32 | Float[Array, ""]
    """The parameters themselves."""


def rates_of_stage(config: OptimizerConfig, num_steps: int) -> list[Rates]:
    """The rates of every update of a stage, in order."""
    learning = rates_of_updates(config.schedule, num_steps)
    if isinstance(config.rule, AdaStarConfig):
        decay = ADASTAR_DECAY if config.weight_decay is None else config.weight_decay
        decay /= config.schedule.peak_rate
    else:
        decay = ADAMW_DECAY if config.weight_decay is None else config.weight_decay
    return [Rates(rate, rate * np.float32(decay)) for rate in learning]


def build_optimizer(rule: Rule) -> optax.GradientTransformationExtraArgs:
    """Clip, the rule, and both rates; or, over the rule's limit, nothing at all. The update wants `rates: Rates`."""
    direction = scale_by_adastar(rule) if isinstance(rule, AdaStarConfig) else scale_by_adamw(rule)

    def update(gradients: PyTree, state: PyTree, params: PyTree, *, rates: Rates) -> tuple[PyTree, PyTree]:
        norm = optax.tree.norm(gradients)
        clip = rule.max_gradient_norm / jnp.maximum(norm, rule.max_gradient_norm)
        directions, new_state = direction.update(jax.tree.map(lambda g: g * clip, gradients), state, params)

        def combine(direction: Array, param: Array, is_norm: bool) -> Array:
            step = rates.learning * direction
            return -(step + rates.decay * param) if rule.decays_norm_scales or not is_norm else -step

        updates = jax.tree.map(combine, directions, params, is_norm_scale(params))
        if rule.drop_gradient_norm is None:
            return updates, new_state
        is_dropped = ~(norm <= rule.drop_gradient_norm)  # so written, a norm that is not a number is dropped too
        updates = jax.tree.map(lambda step: jnp.where(is_dropped, 0.0, step), updates)
        return updates, jax.tree.map(lambda new, old: jnp.where(is_dropped, old, new), new_state, state)

    return optax.GradientTransformationExtraArgs(direction.init, update)
