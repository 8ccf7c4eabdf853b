"""AdamW (arXiv 1711.05101): the rule that most public recipes use, to compare AdaStar with."""

from typing import Literal

import jax
import optax  # type: ignore[import-untyped]
from jaxtyping import PyTree

from codling.config import config


@config
class AdamWConfig:
    """What the rule does with a gradient; rates and decay are in `OptimizerConfig`."""

    name: Literal["adamw"] = "adamw"
    momentum_decay: float = 0.9
    """Decay of the first moment."""
    second_moment_decay: float = 0.95
    max_gradient_norm: float = 1.0
    """Gradients of a larger global norm are scaled down to it."""
    drop_gradient_norm: float | None = None
    """A step whose gradients have a larger global norm changes neither parameters nor moments; none: never."""
    decays_norm_scales: bool = False


def scale_by_adamw(rule: AdamWConfig) -> optax.GradientTransformation:
    """Clipped gradients to directions."""
    adam = optax.scale_by_adam(b1=rule.momentum_decay, b2=rule.second_moment_decay)

    def update(gradients: PyTree, state: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
        # Optax multiplies its integer step counts with floats, which our own code is not allowed to.
        with jax.numpy_dtype_promotion("standard"):
            directions, state = adam.update(gradients, state, params)
        return directions, state

    return optax.GradientTransformation(adam.init, update)
