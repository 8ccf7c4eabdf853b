"""Losses of online training on answers that pi_k sampled (arXiv 2407.21075 section 4.2, and three to compare with).

    MDLOO       maximize  E_{y ~ pi_k}[(pi/pi_k) A] - gamma KL(pi || pi_k)
    REINFORCE   maximize  E_{y ~ pi_k}[A log pi]                               at pi = pi_k (RLOO, arXiv 2402.14740)
    PPO         maximize  E_{y ~ pi_k}[min(rho A, clip(rho, 1 - e, 1 + e) A)]  (arXiv 1707.06347 equation 7)
    GRPO        the same by token, averaged over each answer, - beta KL(pi || pi_ref) (arXiv 2402.03300 equation 3)

In the first three ONE ANSWER IS ONE ACTION: rho = pi(y)/pi_k(y), from log-probabilities summed over the whole answer.
MDLOO's divergence is `kl.kl_from_sampler`, as the answers are pi_k's and not pi's. Each function gives minus the
objective, summed over answers by their weights; the mean an answer is minimized. Advantages come in, without gradient:
leave-one-out ones, or GRPO's. A ratio that overflows is not clipped: the loss is then not finite, and training stops.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from codling.posttrain.answer_log_probs import sum_answers
from codling.posttrain.kl import KLEstimator, kl_estimate, kl_from_sampler
from codling.train.loss import LossSums


class SampledAnswers(NamedTuple):
    """One answer a row, with its tokens' log-probabilities in nats. Only `log_probs` carries a gradient."""

    log_probs: Float[Array, "B T"]
    """Under pi, which is trained."""
    sampler_log_probs: Float[Array, "B T"]
    """Under pi_k, which wrote the answer."""
    reference_log_probs: Float[Array, "B T"]
    """Under pi_ref, which the rewards hold it to."""
    mask: Bool[Array, "B T"]
    """On where a token belongs to the answer, its end included."""
    advantages: Float[Array, " B"]
    weights: Float[Array, " B"]
    """How much an answer counts, 1 as a rule. A row that is masked whole, as those that fill a batch, never counts."""


def mdloo_loss(answers: SampledAnswers, *, gamma: float) -> LossSums:
    """-[rho A - gamma (rho log rho - (rho - 1))], an answer; `gamma` is the price of a nat away from pi_k.

    The objective is the report's; the estimator of the divergence is ours (unknown in the report).
    """
    sums = _sums(answers)
    divergence = kl_from_sampler(sums.log_prob, sums.sampler_log_prob)
    return _sum_answers(gamma * divergence - jnp.exp(sums.log_ratio) * sums.advantages, answers, {})


def reinforce_loss(answers: SampledAnswers) -> LossSums:
    """-A log pi(y), an answer. Right for one update only, as it does not know that pi has left pi_k."""
    sums = _sums(answers)
    return _sum_answers(-sums.advantages * sums.log_prob, answers, {})


def clipped_loss(answers: SampledAnswers, *, clip_range: float) -> LossSums:
    """-min(rho A, clip(rho) A), an answer: beyond the range an answer has no say, where MDLOO's is priced."""
    sums = _sums(answers)
    losses, is_clipped = _clipped(jnp.exp(sums.log_ratio), sums.advantages, clip_range)
    return _sum_answers(losses, answers, {"clipped": is_clipped})


def grpo_loss(answers: SampledAnswers, *, clip_range: float, beta: float) -> LossSums:
    """The mean over an answer's tokens of -min(rho_t A, clip(rho_t) A) + beta k3(pi || pi_ref)."""
    sampler, reference, advantages = _constants(answers)
    # Off tokens are made equal first: a zero times an infinity further on would be NaN.
    log_probs, sampler, reference = (jnp.where(answers.mask, x, 0.0) for x in (answers.log_probs, sampler, reference))
    losses, is_clipped = _clipped(jnp.exp(log_probs - sampler), advantages[:, None], clip_range)
    losses = losses + beta * kl_estimate(log_probs, reference, KLEstimator.K3)
    num_tokens = jnp.maximum(jnp.sum(answers.mask, axis=1).astype(log_probs.dtype), 1.0)
    by_answer, clipped = (jnp.sum(jnp.where(answers.mask, x, 0.0), axis=1) / num_tokens for x in (losses, is_clipped))
    return _sum_answers(by_answer, answers, {"clipped": clipped})


class _Sums(NamedTuple):
    log_prob: Float[Array, " B"]
    sampler_log_prob: Float[Array, " B"]
    log_ratio: Float[Array, " B"]
    advantages: Float[Array, " B"]


def _sums(answers: SampledAnswers) -> _Sums:
    sampler, _, advantages = _constants(answers)
    log_prob, sampler_log_prob = (sum_answers(x, answers.mask).log_prob for x in (answers.log_probs, sampler))
    return _Sums(log_prob, sampler_log_prob, log_prob - sampler_log_prob, advantages)


def _constants(answers: SampledAnswers) -> tuple[Array, Array, Array]:
    constants: tuple[Array, Array, Array] = jax.lax.stop_gradient(
        (answers.sampler_log_probs, answers.reference_log_probs, answers.advantages)
    )
    return constants


def _clipped(rho: Array, advantages: Array, clip_range: float) -> tuple[Array, Array]:
    """-min(rho A, clip(rho) A), and 1 where the clipped one is the smaller."""
    clipped = jnp.clip(rho, 1.0 - clip_range, 1.0 + clip_range)
    return -jnp.minimum(rho * advantages, clipped * advantages), (clipped * advantages < rho * advantages).astype(
        rho.dtype
    )


def _sum_answers(losses: Float[Array, " B"], answers: SampledAnswers, figures: dict[str, Array]) -> LossSums:
    """Add up, with both divergences beside the loss: how far this update has gone, and how far all of them."""
    sums, reference = _sums(answers), sum_answers(answers.reference_log_probs, answers.mask).log_prob
    rho = jnp.exp(sums.log_ratio)
    metrics = figures | {
        "kl_to_sampler": kl_from_sampler(sums.log_prob, sums.sampler_log_prob),
        "kl_to_reference": rho * (sums.log_prob - reference),
        "ratio": rho,
    }
    weights = jnp.where(jnp.any(answers.mask, axis=1), answers.weights, 0.0)
    return LossSums(
        jnp.sum(jnp.where(weights != 0.0, losses * weights, 0.0)),
        jnp.sum(weights),
        {
            name: jax.lax.stop_gradient(jnp.sum(jnp.where(weights != 0.0, value * weights, 0.0)))
            for name, value in metrics.items()
        },
    )
