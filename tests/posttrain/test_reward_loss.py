"""The loss of a batch is the sum of its pairs' rankings, and lambda times their gradings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.model.execution import PLAIN
from codling.posttrain.answer_rows import answer_rows
from codling.posttrain.pair_rows import PairBatch
from codling.posttrain.reward_loss import Ranking, RewardLossConfig, reward_loss
from codling.posttrain.reward_model import RewardModel, init_reward_model
from tests.conftest import Pair

ROWS = answer_rows([[5, 6], [5, 6], [7], [7]], [[1, 2, 0], [3, 0], [4, 0], [8, 9, 0]], 8)
BATCH = PairBatch(
    ROWS.batch,
    np.asarray([3, 2, 1, 2], np.int32),
    np.asarray([0.95, 0.95, 0.65, 0.65], np.float32),
    np.asarray([1.0, 1.0, 0.0, 0.0], np.float32),
    np.asarray([[2, -1, 0, 1], [-1] * 4, [-1] * 4, [1, 1, -1, 0]], np.int32),
)
WEIGHT = 0.3


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = -np.log1p(np.exp(-x))
    return found


@pytest.mark.parametrize("ranking", Ranking)
def test_the_loss_is_that_of_the_formula(pair: Pair, ranking: Ranking) -> None:
    random = np.random.default_rng(0)
    fresh = init_reward_model(pair.model, jax.random.key(0))
    model = RewardModel(
        pair.model,
        jnp.asarray(random.normal(size=fresh.reward.shape) * 0.1, jnp.float32),
        fresh.grader_hidden,
        jnp.asarray(random.normal(size=fresh.grader_out.shape), jnp.float32),
    )
    judged = model(BATCH.batch, jnp.asarray(BATCH.ends))
    difference = np.asarray(judged.rewards[::2] - judged.rewards[1::2], np.float64)
    p = BATCH.probabilities[::2]
    ranked = {
        Ranking.SOFT: -p * log_sigmoid(difference) - (1 - p) * log_sigmoid(-difference),
        Ranking.HARD: -log_sigmoid(difference),
        Ranking.MARGIN: -log_sigmoid(difference - BATCH.margins[::2]),
    }[ranking]
    log_probs = np.asarray(jax.nn.log_softmax(judged.grade_logits))
    graded = -sum(log_probs[row, aspect, grade] for (row, aspect), grade in np.ndenumerate(BATCH.grades) if grade >= 0)
    config = RewardLossConfig(ranking=ranking, grading_weight=WEIGHT)
    sums = reward_loss(config)(model, None, BATCH, jax.random.key(0), PLAIN)
    np.testing.assert_allclose(sums.value, ranked.sum() + WEIGHT * graded, rtol=1e-4)
    assert sums.weight == 2
    assert float(sums.metrics["accuracy"]) == np.sum(difference > 0)
