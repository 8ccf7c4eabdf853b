"""What DPO and IPO start from: a pair's answers under the model and under the frozen reference."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from codling.posttrain.answer_log_probs import AnswerSums
from codling.train.loss import LossSums


class PairLogProbs(NamedTuple):
    """Both answers of each pair. A reference carries no gradient."""

    chosen: AnswerSums
    rejected: AnswerSums
    reference_chosen: AnswerSums
    reference_rejected: AnswerSums


class LogRatios(NamedTuple):
    """log pi(answer) - log pi_ref(answer), in nats: a sum over the answer's tokens, or a mean."""

    chosen: Float[Array, " B"]
    rejected: Float[Array, " B"]


def log_ratios(pairs: PairLogProbs) -> LogRatios:
    """Sum over each answer's tokens."""
    reference_chosen, reference_rejected = jax.lax.stop_gradient((pairs.reference_chosen, pairs.reference_rejected))
    return LogRatios(
        pairs.chosen.log_prob - reference_chosen.log_prob, pairs.rejected.log_prob - reference_rejected.log_prob
    )


def mean_log_ratios(pairs: PairLogProbs) -> LogRatios:
    """Take the mean over each answer's tokens; zero, and not 0/0, for an answer of none."""
    sums = log_ratios(pairs)
    return LogRatios(
        sums.chosen / jnp.maximum(pairs.chosen.num_tokens, 1.0),
        sums.rejected / jnp.maximum(pairs.rejected.num_tokens, 1.0),
    )


def sum_pairs(losses: Float[Array, " B"], pairs: PairLogProbs, implicit_rewards: LogRatios) -> LossSums:
    """Add up the pairs' losses and figures. A pair of which an answer is masked whole has weight zero, never NaN."""
    is_whole = (pairs.chosen.num_tokens > 0) & (pairs.rejected.num_tokens > 0)
    margins = implicit_rewards.chosen - implicit_rewards.rejected
    metrics = {
        "accuracy": (margins > 0).astype(jnp.float32),
        "reward_margin": margins,
        "chosen_reward": implicit_rewards.chosen,
        "rejected_reward": implicit_rewards.rejected,
    }
    return LossSums(
        jnp.sum(jnp.where(is_whole, losses, 0.0)),
        jnp.sum(is_whole.astype(jnp.float32)),
        {name: jax.lax.stop_gradient(jnp.sum(jnp.where(is_whole, value, 0.0))) for name, value in metrics.items()},
    )
