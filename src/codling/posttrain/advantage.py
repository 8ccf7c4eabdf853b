"""Rewards and advantages of several answers to each prompt (arXiv 2407.21075 section 4.2, MDLOO).

    R_i = r_i - beta sum over t of [log pi(y_t) - log pi_ref(y_t)]      the whole answer is one action
    A_i = R_i - mean over j != i of R_j                                 leave-one-out

The penalty enters the reward BEFORE the baseline is taken, as in TRL; taken after, the baseline would not know of it.
Advantages of GRPO (arXiv 2402.03300 section 4.1.2) stand beside it to compare with: (R_i - mean) / std, by which a
group whose rewards hardly differ counts as much as one whose rewards differ a lot. None of these carries a gradient.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from codling.errors import UserError
from codling.posttrain.kl import KLEstimator, kl_estimate

STD_FLOOR = 1e-4
"""Added to the spread that GRPO divides by, in the unit of the rewards; TRL's."""


def penalized_rewards(
    rewards: Float[Array, "B A"],
    log_probs: Float[Array, "B A T"],
    reference_log_probs: Float[Array, "B A T"],
    mask: Bool[Array, "B A T"],
    *,
    beta: float,
    estimator: KLEstimator = KLEstimator.K1,
) -> Float[Array, "B A"]:
    """R = r - beta KL, where the estimates of an answer's tokens are summed.

    `log_probs` are those of the policy that sampled. With k1, the default, the sum is the log ratio of the whole
    answer, as in the report.
    """
    by_token = kl_estimate(log_probs, reference_log_probs, estimator)
    return jax.lax.stop_gradient(rewards - beta * jnp.sum(jnp.where(mask, by_token, 0.0), axis=-1))


def leave_one_out(rewards: Float[Array, "B A"]) -> Float[Array, "B A"]:
    """A_i = R_i - mean of the others' rewards, for A answers to each of B prompts, in the unit of the rewards.

    They add up to zero over a group; equal rewards give exactly zero.
    Errors: `UserError` for groups of one answer, which has no others.
    """
    others = _group_size(rewards) - 1
    shifted = _shifted(rewards)
    return jax.lax.stop_gradient(shifted - (jnp.sum(shifted, axis=1, keepdims=True) - shifted) / others)


def group_normalized(rewards: Float[Array, "B A"]) -> Float[Array, "B A"]:
    """GRPO's (R_i - mean) / (std + floor), with the sample's std (one less in the divisor), in no unit.

    Errors: `UserError` for groups of one answer, which have no spread.
    """
    degrees = _group_size(rewards) - 1
    shifted = _shifted(rewards)
    centered = shifted - jnp.mean(shifted, axis=1, keepdims=True)
    std = jnp.sqrt(jnp.sum(jnp.square(centered), axis=1, keepdims=True) / degrees)
    return jax.lax.stop_gradient(centered / (std + STD_FLOOR))


def _shifted(rewards: Float[Array, "B A"]) -> Float[Array, "B A"]:
    """Seen from the first answer: no advantage changes, and equal rewards are exactly zero, free of rounding."""
    return rewards - rewards[:, :1]


def _group_size(rewards: Float[Array, "B A"]) -> int:
    num_answers = rewards.shape[1]
    if num_answers < 2:
        raise UserError(f"{num_answers} answer a prompt; advantages compare answers: sample at least 2")
    return num_answers
