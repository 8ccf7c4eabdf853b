import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from codling.posttrain.levels import Level, LevelMargins, LevelProbabilities
from codling.posttrain.rank_loss import hard_rank_loss, margin_rank_loss, rank_loss

RANDOM = np.random.default_rng(0)
CHOSEN, REJECTED = (jnp.asarray(RANDOM.normal(size=6) * 3, jnp.float32) for _ in range(2))
PROBABILITIES = jnp.asarray([LevelProbabilities().of(level) for level in (*Level, Level.BETTER, Level.BETTER)])
TOLERANCE = 1e-5


def sigma(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def test_it_equals_the_formula() -> None:
    difference, p = np.asarray(CHOSEN - REJECTED, np.float64), np.asarray(PROBABILITIES, np.float64)
    expected = -p * np.log(sigma(difference)) - (1 - p) * np.log(sigma(-difference))
    np.testing.assert_allclose(rank_loss(CHOSEN, REJECTED, PROBABILITIES), expected, rtol=TOLERANCE)
    np.testing.assert_allclose(hard_rank_loss(CHOSEN, REJECTED), -np.log(sigma(difference)), rtol=1e-4)


def test_swapping_the_answers_swaps_the_label() -> None:
    swapped = rank_loss(REJECTED, CHOSEN, 1 - PROBABILITIES)
    np.testing.assert_allclose(rank_loss(CHOSEN, REJECTED, PROBABILITIES), swapped, rtol=TOLERANCE)


def test_only_the_difference_of_the_rewards_counts() -> None:
    shifted = rank_loss(CHOSEN + 5.0, REJECTED + 5.0, PROBABILITIES)
    np.testing.assert_allclose(shifted, rank_loss(CHOSEN, REJECTED, PROBABILITIES), rtol=1e-4)


@pytest.mark.parametrize("level", Level)
def test_the_gradient_vanishes_where_the_difference_is_the_labels_log_odds(level: Level) -> None:
    p = LevelProbabilities().of(level)
    zero = jnp.zeros(1)
    gradient = jax.grad(lambda chosen: rank_loss(chosen, zero, jnp.full(1, p)).sum())
    assert abs(float(gradient(jnp.full(1, np.log(p / (1 - p))))[0])) < TOLERANCE
    # A hard label pulls without end; a soft one pulls back from too wide a difference.
    assert float(gradient(jnp.full(1, 8.0))[0]) > 0.04
    assert float(jax.grad(lambda chosen: hard_rank_loss(chosen, zero).sum())(jnp.full(1, 8.0))[0]) < 0


def test_a_margin_shifts_the_hard_loss_and_none_is_the_hard_loss() -> None:
    margins = jnp.full(6, LevelMargins().of(Level.BETTER))
    shifted = hard_rank_loss(CHOSEN, REJECTED + margins)
    np.testing.assert_allclose(margin_rank_loss(CHOSEN, REJECTED, margins), shifted, rtol=TOLERANCE)
    np.testing.assert_array_equal(margin_rank_loss(CHOSEN, REJECTED, jnp.zeros(6)), hard_rank_loss(CHOSEN, REJECTED))


def test_far_apart_rewards_stay_finite() -> None:
    far = jnp.asarray([1e4, -1e4])
    value, gradient = jax.value_and_grad(lambda chosen: rank_loss(chosen, -chosen, PROBABILITIES[:2]).sum())(far)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_gradients_are_finite_differences() -> None:
    loss = jax.jit(lambda a, b: rank_loss(a, b, PROBABILITIES))
    check_grads(loss, (CHOSEN, REJECTED), 1, ["rev"], atol=0.02, rtol=0.02)  # type: ignore[no-untyped-call]
