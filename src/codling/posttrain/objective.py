"""What an update of online training maximizes, as the loss that `train.step` takes (`posttrain.policy_loss`)."""

from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Float, PRNGKeyArray

from codling.config import config
from codling.model.execution import Execution
from codling.model.transformer import Transformer
from codling.posttrain.group_rows import GroupRows, group_log_probs
from codling.posttrain.policy_loss import SampledAnswers, clipped_loss, grpo_loss, mdloo_loss, reinforce_loss
from codling.train.loss import LossSums
from codling.train.step import LossFunction


@config
class MdlooConfig:
    """Mirror descent (arXiv 2407.21075 section 4.2.3)."""

    name: Literal["mdloo"] = "mdloo"
    gamma: float = 0.2
    """Price of a nat away from the policy that sampled, in rewards. Unknown in the report; ours."""


@config
class ReinforceConfig:
    """REINFORCE with the leave-one-out baseline (RLOO): for one update an iteration."""

    name: Literal["reinforce"] = "reinforce"


@config
class PpoConfig:
    """Clipping, by answer."""

    name: Literal["ppo"] = "ppo"
    clip_range: float = 0.2
    """Around a ratio of 1 (arXiv 1707.06347)."""


@config
class GrpoConfig:
    """Clipping, by token, with advantages in units of their group's spread."""

    name: Literal["grpo"] = "grpo"
    clip_range: float = 0.2
    """Around a ratio of 1."""
    beta: float = 0.04
    """Price of a nat away from the reference, in the loss and not in the rewards (arXiv 2402.03300)."""


Objective = Annotated[MdlooConfig | ReinforceConfig | PpoConfig | GrpoConfig, pydantic.Field(discriminator="name")]


class OnlineBatch(NamedTuple):
    """Some of an iteration's prompts with all answers to them."""

    rows: GroupRows
    sampler_log_probs: Float[np.ndarray, "B M"]
    reference_log_probs: Float[np.ndarray, "B M"]
    advantages: Float[np.ndarray, " B"]


def loss_of(objective: Objective) -> LossFunction[Transformer]:
    """The loss of a batch of answers under the policy in training."""
    loss = _answer_loss(objective)

    def of_batch(
        policy: Transformer, frozen: None, online: OnlineBatch, key: PRNGKeyArray, execution: Execution
    ) -> LossSums:
        rows, *constants = online
        mask, sampler_log_probs, reference_log_probs, advantages = map(jnp.asarray, (rows.mask, *constants))
        log_probs = group_log_probs(policy, rows, execution).log_probs
        weights = jnp.ones_like(advantages)
        sums: LossSums = loss(
            SampledAnswers(log_probs, sampler_log_probs, reference_log_probs, mask, advantages, weights)
        )
        return sums

    return of_batch


def _answer_loss(objective: Objective) -> Any:
    match objective:
        case MdlooConfig():
            return partial(mdloo_loss, gamma=objective.gamma)
        case ReinforceConfig():
            return reinforce_loss
        case PpoConfig():
            return partial(clipped_loss, clip_range=objective.clip_range)
        case GrpoConfig():
            return partial(grpo_loss, clip_range=objective.clip_range, beta=objective.beta)
