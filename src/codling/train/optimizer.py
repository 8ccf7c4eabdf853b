"""The optimizer of a stage."""

import jax
import optax  # type: ignore[import-untyped]
from jaxtyping import PyTree

from codling.config import config
from codling.model.norm import RMSNorm
from codling.train.schedule import ScheduleConfig, build_schedule


@config
class OptimizerConfig:
    """AdamW (arXiv 1711.05101) behind a clip of the global gradient norm."""

    schedule: ScheduleConfig
    weight_decay: float = 0.1
    """Decoupled; follows the schedule. Applies to matrices, not to norm scales."""
    momentum_decay: float = 0.9
    """Decay of the first moment."""
    second_moment_decay: float = 0.95
    max_gradient_norm: float = 1.0
    """Gradients of a larger global norm are scaled down to it (AXLearn: 1.0)."""


def build_optimizer(config: OptimizerConfig, num_steps: int) -> optax.GradientTransformation:
    """The update rule for a stage of num_steps steps."""
    rule = optax.chain(
        optax.clip_by_global_norm(config.max_gradient_norm),
        optax.adamw(
            build_schedule(config.schedule, num_steps),
            b1=config.momentum_decay,
            b2=config.second_moment_decay,
            weight_decay=config.weight_decay,
            mask=_is_decayed,
        ),
    )

    def update(gradients: PyTree, state: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
        # Optax multiplies its integer step counts with floats, which our own code is not allowed to.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = rule.update(gradients, state, params)
        return updates, state

    return optax.GradientTransformation(rule.init, update)


def _is_decayed(params: PyTree) -> PyTree:
    def is_norm(node: object) -> bool:
        return isinstance(node, RMSNorm)

    return jax.tree.map(lambda node: jax.tree.map(lambda leaf: not is_norm(node), node), params, is_leaf=is_norm)
