import jax
import jax.numpy as jnp
import numpy as np

from codling.posttrain.answer_log_probs import AnswerSums, sum_answers
from codling.posttrain.pair_log_probs import LogRatios, PairLogProbs, log_ratios, mean_log_ratios, sum_pairs


def sums(log_probs: list[float], num_tokens: list[int]) -> AnswerSums:
    return AnswerSums(jnp.asarray(log_probs), jnp.asarray(num_tokens, jnp.float32))


PAIRS = PairLogProbs(
    sums([-6.0, -9.0], [3, 1]), sums([-8.0, 0.0], [4, 0]), sums([-9.0, -9.0], [3, 1]), sums([-4.0, 0.0], [4, 0])
)


def test_ratios_are_sums_or_means_over_each_answers_own_length() -> None:
    np.testing.assert_array_equal(log_ratios(PAIRS), [[3, 0], [-4, 0]])
    np.testing.assert_array_equal(mean_log_ratios(PAIRS), [[1, 0], [-1, 0]])


def test_a_pair_without_an_answer_counts_nothing() -> None:
    total = sum_pairs(jnp.asarray([2.0, jnp.nan]), PAIRS, LogRatios(jnp.asarray([3.0, 0.0]), jnp.asarray([-4.0, 0.0])))
    assert (float(total.value), float(total.weight)) == (2, 1)
    assert {name: float(value) for name, value in total.metrics.items()} == {
        "accuracy": 1,
        "reward_margin": 7,
        "chosen_reward": 3,
        "rejected_reward": -4,
    }


def test_the_reference_carries_no_gradient() -> None:
    gradients = jax.grad(lambda pairs: log_ratios(pairs).chosen.sum() - log_ratios(pairs).rejected.sum())(PAIRS)
    assert gradients.chosen.log_prob.tolist() == [1, 1]
    assert gradients.rejected.log_prob.tolist() == [-1, -1]
    assert not gradients.reference_chosen.log_prob.any()
    assert not gradients.reference_rejected.log_prob.any()


def test_each_answer_is_masked_by_its_own_prompt() -> None:
    # Answers to prompts of different lengths: the mask of the chosen rows must not be laid over the rejected ones.
    log_probs = -jnp.arange(1.0, 9.0).reshape(2, 4)
    chosen = sum_answers(log_probs[:1], jnp.asarray([[False, True, True, True]]))
    rejected = sum_answers(log_probs[1:], jnp.asarray([[False, False, False, True]]))
    assert (float(chosen.log_prob[0]), float(rejected.log_prob[0])) == (-9, -8)
