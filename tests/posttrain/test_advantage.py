import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.errors import UserError
from codling.posttrain.advantage import group_normalized, leave_one_out, penalized_rewards
from codling.posttrain.kl import KLEstimator

RANDOM = np.random.default_rng(0)
REWARDS = jnp.asarray(RANDOM.normal(size=(5, 4)), jnp.float32)
TOLERANCE = 1e-5


def test_leave_one_out_equals_the_formula() -> None:
    expected = [[r - np.mean(np.delete(group, i)) for i, r in enumerate(group)] for group in np.asarray(REWARDS)]
    np.testing.assert_allclose(leave_one_out(REWARDS), expected, atol=TOLERANCE)


def test_the_worked_example_of_eight_answers() -> None:
    # Three of eight right: the figures of a discussion of other libraries (Relax#174).
    rewards = jnp.asarray([[1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]])
    right = np.asarray(rewards) == 1
    np.testing.assert_allclose(leave_one_out(rewards), np.where(right, 0.714, -0.429), atol=5e-4)
    np.testing.assert_allclose(group_normalized(rewards), np.where(right, 1.208, -0.725), atol=1e-3)


def test_advantages_add_up_to_zero_and_know_no_offset() -> None:
    for advantages in (leave_one_out, group_normalized):
        np.testing.assert_allclose(jnp.sum(advantages(REWARDS), axis=1), np.zeros(5), atol=TOLERANCE)
        np.testing.assert_allclose(advantages(REWARDS + 64.0), advantages(REWARDS), atol=1e-4)


def test_leave_one_out_keeps_the_rewards_unit_where_grpos_does_not() -> None:
    np.testing.assert_allclose(leave_one_out(REWARDS * 0.01), leave_one_out(REWARDS) * 0.01, atol=1e-6)
    assert np.abs(group_normalized(REWARDS * 0.01)).max() > 0.9


@pytest.mark.parametrize("reward", [0.0, 0.1, -1 / 3, 1e6])
@pytest.mark.parametrize("num_answers", [2, 3, 7])
def test_equal_rewards_give_exactly_nothing(reward: float, num_answers: int) -> None:
    equal = jnp.full((2, num_answers), reward)
    assert not leave_one_out(equal).any()
    assert not group_normalized(equal).any()


def test_the_mean_of_leave_one_out_is_grpos_center_rescaled() -> None:
    centered = REWARDS - REWARDS.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(leave_one_out(REWARDS), centered * 4 / 3, atol=TOLERANCE)


def test_one_answer_has_no_others() -> None:
    for advantages in (leave_one_out, group_normalized):
        with pytest.raises(UserError, match="sample at least 2"):
            advantages(jnp.ones((3, 1)))


LOG_PROBS, REFERENCE = (jnp.asarray(-RANDOM.uniform(0.1, 3, size=(5, 4, 6)), jnp.float32) for _ in range(2))
MASK = jnp.asarray(RANDOM.integers(0, 2, size=(5, 4, 6)), bool)


def test_the_penalty_is_summed_over_the_answer() -> None:
    for estimator in KLEstimator:
        ratio = np.asarray(LOG_PROBS - REFERENCE, np.float64)
        by_token = ratio if estimator is KLEstimator.K1 else np.exp(-ratio) - 1 + ratio
        expected = np.asarray(REWARDS) - 0.3 * (by_token * np.asarray(MASK)).sum(axis=-1)
        got = penalized_rewards(REWARDS, LOG_PROBS, REFERENCE, MASK, beta=0.3, estimator=estimator)
        np.testing.assert_allclose(got, expected, atol=1e-4)


def test_the_reference_itself_pays_nothing() -> None:
    np.testing.assert_array_equal(penalized_rewards(REWARDS, LOG_PROBS, LOG_PROBS, MASK, beta=2.0), REWARDS)


def test_the_baseline_knows_the_penalty() -> None:
    # A penalty that all answers pay alike is no reason to prefer any: taken after the baseline, it would move them.
    all_pay = LOG_PROBS[:, :1].repeat(4, axis=1), REFERENCE[:, :1].repeat(4, axis=1)
    rewards = penalized_rewards(REWARDS, *all_pay, jnp.ones_like(MASK), beta=0.3)
    np.testing.assert_allclose(leave_one_out(rewards), leave_one_out(REWARDS), atol=1e-4)


def test_nothing_is_learned_through_rewards_and_advantages() -> None:
    def total(log_probs: jax.Array) -> jax.Array:
        rewards = penalized_rewards(REWARDS, log_probs, REFERENCE, MASK, beta=0.3)
        return jnp.sum(jnp.square(leave_one_out(rewards)) + group_normalized(rewards))

    assert not jax.grad(total)(LOG_PROBS).any()


def test_masked_tokens_may_hold_anything() -> None:
    wild = jnp.where(MASK, LOG_PROBS, -jnp.inf)
    got = penalized_rewards(REWARDS, wild, REFERENCE, MASK, beta=0.3)
    np.testing.assert_array_equal(got, penalized_rewards(REWARDS, LOG_PROBS, REFERENCE, MASK, beta=0.3))
