from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]
import pytest

from codling.adapters.lora import attach, split
from codling.model.norm import RMSNorm
from codling.model.transformer import Transformer
from codling.train.adamw import AdamWConfig
from codling.train.optimizer import OptimizerConfig, build_optimizer, rates_of_stage
from codling.train.schedule import Decay, ScheduleConfig

RATE, DECAY, B1, B2, MAX_NORM = 0.1, 0.2, 0.8, 0.9, 1.5
CONFIG = OptimizerConfig(
    schedule=ScheduleConfig(peak_rate=RATE, decay=Decay.CONSTANT),
    weight_decay=DECAY,
    rule=AdamWConfig(momentum_decay=B1, second_moment_decay=B2, max_gradient_norm=MAX_NORM),
)


def run(params: Any, gradients: list[Any], config: OptimizerConfig = CONFIG) -> Any:
    optimizer, rates = build_optimizer(config.rule), rates_of_stage(config, num_steps=10)
    state = optimizer.init(params)
    for gradient, rates_of_step in zip(gradients, rates, strict=False):
        updates, state = jax.jit(optimizer.update)(gradient, state, params, rates=rates_of_step)
        params = optax.apply_updates(params, updates)
    return params


def test_decay_shrinks_matrices_and_leaves_norm_scales(tiny_model: Transformer) -> None:
    updated = run(tiny_model, [jax.tree.map(jnp.zeros_like, tiny_model)])

    def check(before: Any, after: Any) -> None:
        factor = 1.0 if isinstance(before, RMSNorm) else 1.0 - RATE * DECAY
        for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
            np.testing.assert_allclose(new, old * factor, rtol=1e-5)

    jax.tree.map(check, tiny_model, updated, is_leaf=lambda node: isinstance(node, RMSNorm))


def test_an_adapter_alone_is_trained_too(tiny_model: Transformer) -> None:
    adapter, _ = split(attach(tiny_model, 2, jax.random.key(0)))
    updated = run(adapter, [jax.tree.map(jnp.ones_like, adapter)])
    assert all((new != old).all() for new, old in zip(*map(jax.tree.leaves, (updated, adapter)), strict=True))


@pytest.mark.parametrize("decay", [0.0, DECAY])
def test_rate_and_decay_follow_the_schedule(decay: float) -> None:
    warm = OptimizerConfig(
        schedule=ScheduleConfig(peak_rate=RATE, warmup_steps=2), rule=AdamWConfig(), weight_decay=decay
    )
    params = {"weight": jnp.full((2, 2), 3.0)}
    first = run(params, [{"weight": jnp.ones((2, 2))}], warm)["weight"]
    second = run(params, [{"weight": jnp.ones((2, 2))}] * 2, warm)["weight"]
    np.testing.assert_allclose(params["weight"] - first, RATE / 2 * (1 + decay * 3), rtol=1e-4)
    np.testing.assert_allclose(first - second, RATE * (1 + decay * first), rtol=1e-4)
