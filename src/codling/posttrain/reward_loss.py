"""What the reward model minimizes: the ranking of each pair, and lambda times its gradings."""

from enum import StrEnum

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from codling.config import config
from codling.model.execution import Execution
from codling.posttrain.grading_loss import grading_loss
from codling.posttrain.pair_rows import PairBatch
from codling.posttrain.rank_loss import hard_rank_loss, margin_rank_loss, rank_loss
from codling.posttrain.reward_model import RewardModel
from codling.train.loss import LossSums
from codling.train.step import LossFunction


class Ranking(StrEnum):
    """What a pair's level becomes."""

    SOFT = "soft"
    """A soft label, as in the report."""
    HARD = "hard"
    """Nothing."""
    MARGIN = "margin"
    """A margin between the rewards, as in Llama 2."""


@config
class RewardLossConfig:
    """The loss of a pair."""

    ranking: Ranking = Ranking.SOFT
    grading_weight: float = 0.1
    """lambda: weight of the sum of a pair's eight cross-entropies. Unknown in the report; ours."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.grading_weight < float("inf"):
            raise ValueError(f"grading_weight is {self.grading_weight}; it must not be negative")


def reward_loss(config: RewardLossConfig) -> LossFunction[RewardModel]:
    """The loss of a batch of pairs, as `train.step` takes it: summed over pairs."""

    def of_batch(
        model: RewardModel, frozen: None, pairs: PairBatch, key: PRNGKeyArray, execution: Execution
    ) -> LossSums:
        judged = model(pairs.batch, jnp.asarray(pairs.ends), execution)
        chosen, rejected = judged.rewards[::2], judged.rewards[1::2]
        ranked = _rank(config.ranking, chosen, rejected, pairs)
        grades = jnp.asarray(pairs.grades)
        graded = grading_loss(judged.grade_logits.reshape(-1, 2, 4, 3), grades.reshape(-1, 2, 4))
        sums = {"accuracy": chosen > rejected, "rank_loss": ranked, "grading_loss": graded}
        return LossSums(
            jnp.sum(ranked + config.grading_weight * graded),
            jnp.float32(len(chosen)),
            {name: jax.lax.stop_gradient(jnp.sum(value.astype(jnp.float32))) for name, value in sums.items()},
        )

    return of_batch


def _rank(
    ranking: Ranking, chosen: Float[Array, " B"], rejected: Float[Array, " B"], pairs: PairBatch
) -> Float[Array, " B"]:
    match ranking:
        case Ranking.SOFT:
            return rank_loss(chosen, rejected, jnp.asarray(pairs.probabilities)[::2])
        case Ranking.HARD:
            return hard_rank_loss(chosen, rejected)
        case Ranking.MARGIN:
            return margin_rank_loss(chosen, rejected, jnp.asarray(pairs.margins)[::2])
