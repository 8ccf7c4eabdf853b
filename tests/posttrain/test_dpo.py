from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from codling.posttrain.answer_log_probs import AnswerSums
from codling.posttrain.dpo import dpo_loss
from codling.posttrain.pair_log_probs import PairLogProbs

BETA, TOLERANCE = 0.3, 1e-5
RANDOM = np.random.default_rng(0)


def draw(num_pairs: int = 5) -> PairLogProbs:
    return PairLogProbs(
        *(
            AnswerSums(
                jnp.asarray(-RANDOM.uniform(1, 20, num_pairs), jnp.float32),
                jnp.asarray(RANDOM.integers(1, 9, num_pairs), jnp.float32),
            )
            for _ in range(4)
        )
    )


PAIRS = draw()


def test_it_equals_the_formula() -> None:
    better, worse, ref_better, ref_worse = (np.asarray(answer.log_prob, np.float64) for answer in PAIRS)
    logits = BETA * ((better - ref_better) - (worse - ref_worse))
    sums = dpo_loss(PAIRS, beta=BETA)
    assert float(sums.value) == pytest.approx(np.log1p(np.exp(-logits)).sum(), rel=TOLERANCE)
    assert float(sums.weight) == 5
    smooth = 0.9 * np.log1p(np.exp(-logits)) + 0.1 * np.log1p(np.exp(logits))
    assert float(dpo_loss(PAIRS, beta=BETA, label_smoothing=0.1).value) == pytest.approx(smooth.sum(), rel=TOLERANCE)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_the_reference_itself_has_a_loss_of_log_2_and_no_margin(label_smoothing: float) -> None:
    same = PairLogProbs(PAIRS.chosen, PAIRS.rejected, PAIRS.chosen, PAIRS.rejected)
    sums = dpo_loss(same, beta=BETA, label_smoothing=label_smoothing)
    assert float(sums.value / sums.weight) == pytest.approx(np.log(2), rel=TOLERANCE)
    assert float(sums.metrics["reward_margin"]) == 0


def test_the_better_answer_gains_and_the_other_loses() -> None:
    gradients = jax.grad(lambda pairs: dpo_loss(pairs, beta=BETA).value)(PAIRS)
    assert (gradients.chosen.log_prob < 0).all()
    assert (gradients.rejected.log_prob > 0).all()
    assert not gradients.reference_chosen.log_prob.any()


def test_lengths_do_not_matter() -> None:
    longer = PAIRS._replace(chosen=PAIRS.chosen._replace(num_tokens=PAIRS.chosen.num_tokens * 7))
    assert dpo_loss(longer, beta=BETA).value == dpo_loss(PAIRS, beta=BETA).value


def test_a_pair_that_is_masked_whole_weighs_nothing() -> None:
    def value(pairs: PairLogProbs) -> jax.Array:
        sums = dpo_loss(pairs, beta=BETA)
        return sums.value / sums.weight

    def cut(answer: AnswerSums) -> AnswerSums:
        return AnswerSums(answer.log_prob[1:], answer.num_tokens[1:])

    empty: Any = PAIRS._replace(rejected=PAIRS.rejected._replace(num_tokens=PAIRS.rejected.num_tokens.at[0].set(0.0)))
    rest = PairLogProbs(*(cut(answer) for answer in PAIRS))
    np.testing.assert_allclose(value(empty), value(rest), rtol=TOLERANCE)
    gradient = jax.grad(value)(empty).chosen.log_prob
    assert float(gradient[0]) == 0
    assert np.isfinite(gradient).all()


def test_gradients_are_finite_differences() -> None:
    def value(chosen: jax.Array, rejected: jax.Array) -> jax.Array:
        pairs = PAIRS._replace(
            chosen=PAIRS.chosen._replace(log_prob=chosen), rejected=PAIRS.rejected._replace(log_prob=rejected)
        )
        return dpo_loss(pairs, beta=BETA).value

    check_grads(value, (PAIRS.chosen.log_prob, PAIRS.rejected.log_prob), 1, ["rev"], atol=0.02, rtol=0.02)  # type: ignore[no-untyped-call]
