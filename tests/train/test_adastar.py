from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]
import pytest

from codling.model.transformer import Transformer
from codling.train.adastar import AdaStarConfig, scale_by_adastar
from codling.train.optimizer import OptimizerConfig, Rates, build_optimizer, rates_of_stage
from codling.train.schedule import ScheduleConfig

RULE = AdaStarConfig(momentum_decay=0.8, second_moment_decay=0.9, max_gradient_norm=2.0, drop_gradient_norm=100.0)
RATE, DECAY = 0.1, 0.05
RATES = Rates(np.float32(RATE), np.float32(DECAY))
RANDOM = np.random.default_rng(0)


def run(params: Any, gradients: list[Any], rule: AdaStarConfig = RULE) -> tuple[Any, Any]:
    optimizer = build_optimizer(rule)
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for gradient in gradients:
        updates, state = update(gradient, state, params, rates=RATES)
        params = optax.apply_updates(params, updates)
    return params, state


def reference(weight: np.ndarray, gradients: list[np.ndarray]) -> np.ndarray:
    """The six steps of the facts, one after the other; one matrix is the whole model."""
    v = m = np.zeros_like(weight, np.float64)
    for t, g in enumerate(gradients, start=1):
        norm = np.sqrt(np.sum(np.square(g, dtype=np.float64)))
        if norm > 100.0:
            continue
        clipped = g * 2.0 / max(norm, 2.0)
        v = 0.9 * v + 0.1 * (clipped**2 + 1e-30)
        u = clipped / np.sqrt(v / (1 - 0.9**t))
        u = u / max(1.0, np.sqrt(np.mean(u**2)))
        m = 0.8 * m + 0.2 * u
        weight = weight - (RATE * m + DECAY * weight)
    return weight


@pytest.mark.parametrize("sizes", [[1.0, 1.0, 1.0, 1.0], [0.001, 10.0, 0.1, 5.0], [1.0, 0.0, 3.0, 1e-6]])
def test_equals_the_facts_step_for_step(sizes: list[float]) -> None:
    weight = RANDOM.normal(size=(5, 7)).astype(np.float32)
    gradients = [(RANDOM.normal(size=(5, 7)) * size).astype(np.float32) for size in sizes]
    updated, _ = run({"weight": jnp.asarray(weight)}, [{"weight": gradient} for gradient in gradients])
    np.testing.assert_allclose(updated["weight"], reference(weight, gradients), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("norm", [101.0, 1e30, np.inf, np.nan])
def test_a_step_over_the_limit_changes_neither_parameters_nor_moments(norm: float) -> None:
    params = {"weight": jnp.asarray(RANDOM.normal(size=(3, 4)).astype(np.float32))}
    good = {"weight": np.full((3, 4), 0.1, np.float32)}
    before, state_before = run(params, [good])
    bad = {"weight": np.zeros((3, 4), np.float32)}
    bad["weight"][1, 1] = norm
    after, state_after = run(params, [good, bad])
    assert eqx.tree_equal(before, after)
    assert eqx.tree_equal(state_before, state_after)


def test_the_limit_itself_is_no_reason_to_drop() -> None:
    params = {"weight": jnp.zeros((2, 2))}
    gradient = {"weight": np.array([[100.0, 0], [0, 0]], np.float32)}
    assert run(params, [gradient])[0]["weight"][0, 0] != 0


def test_the_second_moment_is_corrected_for_its_start_and_the_momentum_is_not() -> None:
    """A gradient of one sign and size has a normalized update of 1 from the first step on; the momentum creeps up."""
    rule, direction = scale_by_adastar(RULE), []
    params = {"weight": jnp.zeros((2, 2))}
    state = rule.init(params)
    for _ in range(3):
        update, state = rule.update({"weight": jnp.full((2, 2), 0.3)}, state, params)
        direction.append(float(update["weight"][0, 0]))
    assert direction == pytest.approx([1 - 0.8, 1 - 0.8**2, 1 - 0.8**3], rel=1e-5)


def test_no_block_moves_more_than_its_root_mean_square_allows() -> None:
    """Sudden large gradients after small ones: unclipped, the normalized update would be about 1 / sqrt(0.1)."""
    rule = scale_by_adastar(AdaStarConfig(momentum_decay=0.0, second_moment_decay=0.9))
    params = {"weight": jnp.zeros((4, 5))}
    state = rule.init(params)
    for size in (1e-3, 1e-3, 1.0):
        gradient = {"weight": jnp.asarray(RANDOM.normal(size=(4, 5)) * size, jnp.float32)}
        update, state = rule.update(gradient, state, params)
        assert float(jnp.sqrt(jnp.mean(update["weight"] ** 2))) <= 1.0 + 1e-6


def test_each_layer_of_a_stack_is_a_block_of_its_own(tiny_model: Transformer) -> None:
    """A burst in one layer must not hold back the others."""
    rule = scale_by_adastar(AdaStarConfig(momentum_decay=0.0, mup_base_model_dim=None))
    calm = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 1e-3), tiny_model)
    burst = eqx.tree_at(lambda tree: tree.blocks.feed_forward.up.weight, calm, replace_fn=lambda g: g.at[0].set(1.0))
    state = rule.init(tiny_model)
    for _ in range(5):
        _, state = rule.update(calm, state, tiny_model)
    (of_calm, _), (of_burst, _) = rule.update(calm, state, tiny_model), rule.update(burst, state, tiny_model)
    weight, expected = (tree.blocks.feed_forward.up.weight for tree in (of_burst, of_calm))
    np.testing.assert_array_equal(weight[1:], expected[1:])
    assert float(jnp.sqrt(jnp.mean(weight[0] ** 2))) == pytest.approx(1.0, rel=1e-5)


def test_the_decay_follows_the_schedule_and_not_the_peak_rate() -> None:
    for peak_rate in (0.01, 0.5):
        schedule = ScheduleConfig(peak_rate=peak_rate, warmup_steps=2, final_fraction=0.005)
        rates = rates_of_stage(OptimizerConfig(schedule=schedule, weight_decay=1e-3), num_steps=10)
        fractions = [rate.learning / peak_rate for rate in rates]
        assert [rate.decay for rate in rates] == pytest.approx([1e-3 * fraction for fraction in fractions], rel=1e-5)
        assert fractions[:2] == pytest.approx([0.5, 1.0])
        assert fractions[-1] == pytest.approx(0.005)
