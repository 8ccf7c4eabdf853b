"""The mask sums to k and is ordered as its scores; its gradient is that of finite differences; cold, it is hard."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codling.pretrain.soft_topk import soft_topk

SUM_TOLERANCE = 1e-3
NUM_UNITS = 24


def random_scores(seed: int, scale: float = 1.0, num_layers: int = 3) -> jax.Array:
    return scale * jax.random.normal(jax.random.key(seed), (num_layers, NUM_UNITS))


def reference(scores: np.ndarray, k: int, temperature: float) -> np.ndarray:
    """The definition, by the plain bisection of the sum in float64."""

    def mask(threshold: float) -> np.ndarray:
        return 1 / (1 + np.exp(np.clip((threshold - scores) / temperature, -700, 700)))

    low, high = scores.min() - 50 * temperature, scores.max() + 50 * temperature
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if mask(middle).sum() > k else (low, middle)
    return mask(low)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 1000),
    k=st.sampled_from([1, 2, 11, NUM_UNITS - 1, NUM_UNITS]),
    scale=st.sampled_from([0.0, 1e-6, 1e-2, 1.0, 1e3]),
    temperature=st.sampled_from([1e-6, 1e-3, 0.1, 1.0, 100.0]),
)
def test_it_sums_to_k_and_is_ordered_as_the_scores(seed: int, k: int, scale: float, temperature: float) -> None:
    scores = random_scores(seed, scale)
    mask = jax.jit(soft_topk, static_argnums=1)(scores, k, jnp.float32(temperature))
    np.testing.assert_allclose(mask.sum(-1), k, rtol=SUM_TOLERANCE)
    assert bool(jnp.all((mask >= 0) & (mask <= 1)))
    order = jnp.argsort(scores, axis=-1)
    assert bool(jnp.all(jnp.diff(jnp.take_along_axis(mask, order, axis=-1), axis=-1) >= 0))


@pytest.mark.parametrize("temperature", [1e-8, 1e-3, 1.0])
def test_ties_share_alike_at_any_temperature(temperature: float) -> None:
    scores = jnp.asarray([5.0, 2.0, 2.0, 2.0, -1.0])
    mask = soft_topk(scores, 3, jnp.float32(temperature))
    assert float(mask[1]) == float(mask[2]) == float(mask[3])
    np.testing.assert_allclose(mask.sum(), 3, rtol=SUM_TOLERANCE)
    if temperature < 0.1:
        np.testing.assert_allclose(mask, [1, 2 / 3, 2 / 3, 2 / 3, 0], atol=1e-4)


@pytest.mark.parametrize("k", [1, 7, 23])
@pytest.mark.parametrize("temperature", [0.05, 0.5, 5.0])
def test_it_is_the_definition(k: int, temperature: float) -> None:
    scores = random_scores(0)
    expected = [reference(np.asarray(row, np.float64), k, temperature) for row in scores]
    np.testing.assert_allclose(soft_topk(scores, k, jnp.float32(temperature)), expected, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_gradients_are_those_of_finite_differences(temperature: float) -> None:
    scores = np.asarray(random_scores(1, num_layers=1)[0], np.float64)
    cotangent = np.random.default_rng(0).normal(size=NUM_UNITS)

    def value(scores: jax.Array, temperature: jax.Array) -> jax.Array:
        return jnp.dot(soft_topk(scores, 9, temperature), jnp.asarray(cotangent, jnp.float32))

    of_scores, of_temperature = jax.grad(value, argnums=(0, 1))(
        jnp.asarray(scores, jnp.float32), jnp.float32(temperature)
    )

    def difference(scores_step: np.ndarray, temperature_step: float) -> float:
        ahead, behind = (
            reference(scores + sign * scores_step, 9, temperature + sign * temperature_step) for sign in (1, -1)
        )
        return float(cotangent @ (ahead - behind))

    step = 1e-5
    expected = [difference(step * unit, 0.0) / (2 * step) for unit in np.eye(NUM_UNITS)]
    np.testing.assert_allclose(of_scores, expected, atol=1e-3 * np.abs(expected).max())
    np.testing.assert_allclose(of_temperature, difference(np.zeros(NUM_UNITS), step) / (2 * step), rtol=1e-3)


def test_the_gradient_of_the_sum_is_zero_and_a_hard_mask_has_none() -> None:
    scores = random_scores(2)
    of_sum = jax.grad(lambda scores: soft_topk(scores, 9, jnp.float32(0.3)).sum())(scores)
    np.testing.assert_allclose(of_sum, 0, atol=1e-6)
    hard = jax.grad(lambda scores: soft_topk(scores, 9, jnp.float32(1e-9))[0, 0])(scores)
    np.testing.assert_allclose(hard, 0, atol=1e-20)


def test_cold_it_is_the_hard_top_k() -> None:
    scores = random_scores(3)
    hard = np.zeros(scores.shape)
    np.put_along_axis(hard, np.argsort(-np.asarray(scores), axis=-1)[:, :5], 1.0, axis=-1)
    np.testing.assert_allclose(soft_topk(scores, 5, jnp.float32(1e-7)), hard, atol=1e-30)


def test_keeping_all_is_a_mask_of_ones_without_a_gradient() -> None:
    scores = random_scores(4)
    assert bool(jnp.all(soft_topk(scores, NUM_UNITS, jnp.float32(0.5)) == 1))
    assert not jax.grad(lambda scores: soft_topk(scores, NUM_UNITS, jnp.float32(0.5))[0, 0])(scores).any()


@pytest.mark.parametrize("k", [0, NUM_UNITS + 1])
def test_a_k_that_no_mask_can_sum_to_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"k is {k}; it must be within 1 and the number of scores, {NUM_UNITS}"):
        soft_topk(random_scores(0), k, jnp.float32(1.0))
