from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]
import pytest

from codling.train.adamw import AdamWConfig
from codling.train.optimizer import OptimizerConfig, build_optimizer, rates_of_stage
from codling.train.schedule import Decay, ScheduleConfig

RATE, DECAY, B1, B2, MAX_NORM = 0.1, 0.2, 0.8, 0.9, 1.5
CONFIG = OptimizerConfig(
    schedule=ScheduleConfig(peak_rate=RATE, decay=Decay.CONSTANT),
    weight_decay=DECAY,
    rule=AdamWConfig(momentum_decay=B1, second_moment_decay=B2, max_gradient_norm=MAX_NORM),
)
RANDOM = np.random.default_rng(0)


def run(params: Any, gradients: list[Any], config: OptimizerConfig = CONFIG) -> Any:
    optimizer, rates = build_optimizer(config.rule), rates_of_stage(config, num_steps=10)
    state = optimizer.init(params)
    for gradient, rates_of_step in zip(gradients, rates, strict=False):
        updates, state = jax.jit(optimizer.update)(gradient, state, params, rates=rates_of_step)
        params = optax.apply_updates(params, updates)
    return params


def reference(weight: np.ndarray, gradients: list[np.ndarray], decay: float) -> np.ndarray:
    """AdamW, arXiv 1711.05101 algorithm 2, after the clip; one matrix is the whole model."""
    first = second = np.zeros_like(weight)
    for step, gradient in enumerate(gradients, start=1):
        clipped = gradient * min(1.0, MAX_NORM / np.linalg.norm(gradient))
        first = B1 * first + (1 - B1) * clipped
        second = B2 * second + (1 - B2) * clipped**2
        direction = first / (1 - B1**step) / (np.sqrt(second / (1 - B2**step)) + 1e-8)
        weight = weight - RATE * (direction + decay * weight)
    return weight


@pytest.mark.parametrize("sizes", [[1.0, 1.0, 1.0], [0.01, 100.0, 3.0]])
def test_equals_the_formula_with_gradients_below_and_above_the_clip(sizes: list[float]) -> None:
    weight = RANDOM.normal(size=(3, 4)).astype(np.float32)
    gradients = [(RANDOM.normal(size=(3, 4)) * size).astype(np.float32) for size in sizes]
    updated = run({"weight": jnp.asarray(weight)}, [{"weight": gradient} for gradient in gradients])
    np.testing.assert_allclose(updated["weight"], reference(weight, gradients, DECAY), rtol=1e-4, atol=1e-5)
