"""IPO, and the traps that others fell into: sums for means (trl#1265), 0/0 of an empty answer (trl#1033)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from codling.posttrain.answer_log_probs import AnswerSums, sum_answers
from codling.posttrain.dpo import dpo_loss
from codling.posttrain.ipo import ipo_loss
from codling.posttrain.pair_log_probs import PairLogProbs

TAU, TOLERANCE = 0.4, 1e-5
RANDOM = np.random.default_rng(0)
PAIRS = PairLogProbs(
    *(
        AnswerSums(jnp.asarray(-RANDOM.uniform(1, 20, 5), jnp.float32), jnp.asarray([2.0, 5.0, 3.0, 7.0, 1.0]))
        for _ in range(4)
    )
)


def test_it_equals_the_formula_with_means_over_tokens() -> None:
    means = (np.asarray(answer.log_prob / answer.num_tokens, np.float64) for answer in PAIRS)
    better, worse, ref_better, ref_worse = means
    expected = ((better - ref_better) - (worse - ref_worse) - 1 / (2 * TAU)) ** 2
    sums = ipo_loss(PAIRS, tau=TAU)
    assert float(sums.value) == pytest.approx(expected.sum(), rel=TOLERANCE)
    assert float(sums.weight) == 5


def test_the_reference_itself_has_the_targets_square_as_loss() -> None:
    same = PairLogProbs(PAIRS.chosen, PAIRS.rejected, PAIRS.chosen, PAIRS.rejected)
    sums = ipo_loss(same, tau=TAU)
    assert float(sums.value / sums.weight) == pytest.approx((1 / (2 * TAU)) ** 2, rel=TOLERANCE)


def test_answers_said_twice_have_the_same_loss() -> None:
    twice = PairLogProbs(*(AnswerSums(2 * answer.log_prob, 2 * answer.num_tokens) for answer in PAIRS))
    assert float(ipo_loss(twice, tau=TAU).value) == pytest.approx(float(ipo_loss(PAIRS, tau=TAU).value), rel=TOLERANCE)
    assert float(dpo_loss(twice, beta=TAU).value) != pytest.approx(float(dpo_loss(PAIRS, beta=TAU).value), rel=0.01)


def test_it_is_not_dpo_and_pulls_back_from_too_wide_a_margin() -> None:
    wide = PAIRS._replace(chosen=PAIRS.chosen._replace(log_prob=PAIRS.chosen.log_prob + 100.0))
    assert (jax.grad(lambda pairs: ipo_loss(pairs, tau=TAU).value)(wide).chosen.log_prob > 0).all()
    assert (jax.grad(lambda pairs: dpo_loss(pairs, beta=TAU).value)(wide).chosen.log_prob <= 0).all()


def test_an_answer_that_is_masked_whole_weighs_nothing_and_is_never_nan() -> None:
    mask = jnp.asarray([[False, False, False], [False, True, True]])

    def value(log_probs: jax.Array) -> jax.Array:
        answers, other = sum_answers(log_probs, mask), sum_answers(log_probs - 1.0, jnp.ones_like(mask))
        sums = ipo_loss(PairLogProbs(answers, other, answers, other), tau=TAU)
        return sums.value / sums.weight

    loss, gradient = jax.value_and_grad(value)(-jnp.ones((2, 3)))
    assert float(loss) == pytest.approx((1 / (2 * TAU)) ** 2, rel=TOLERANCE)
    assert not gradient[0].any()
    assert gradient[1].any()


def test_gradients_are_finite_differences() -> None:
    def value(chosen: jax.Array, rejected: jax.Array) -> jax.Array:
        pairs = PAIRS._replace(
            chosen=PAIRS.chosen._replace(log_prob=chosen), rejected=PAIRS.rejected._replace(log_prob=rejected)
        )
        return ipo_loss(pairs, tau=TAU).value

    check_grads(value, (PAIRS.chosen.log_prob, PAIRS.rejected.log_prob), 1, ["rev"], atol=0.05, rtol=0.05)  # type: ignore[no-untyped-call]
