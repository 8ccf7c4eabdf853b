import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.posttrain.answer_rows import answer_rows
from codling.posttrain.reward_model import Judgement, RewardModel, init_reward_model
from codling.train.objective import last_hidden
from tests.conftest import Pair

ENDS = jnp.asarray([3, 4])
ROWS = answer_rows([[5, 6], [7, 8, 9]], [[1, 2, 0], [3, 4, 0]], 8)


@pytest.fixture(scope="module")
def model(pair: Pair) -> RewardModel:
    fresh = init_reward_model(pair.model, jax.random.key(0))
    random = np.random.default_rng(0)
    return RewardModel(
        pair.model,
        jnp.asarray(random.normal(size=fresh.reward.shape), jnp.float32),
        fresh.grader_hidden,
        jnp.asarray(random.normal(size=fresh.grader_out.shape), jnp.float32),
    )


@pytest.fixture(scope="module")
def judged(model: RewardModel) -> Judgement:
    return model(ROWS.batch, ENDS)


def test_heads_read_the_last_layer_at_the_end_of_the_answer(model: RewardModel, judged: Judgement) -> None:
    hidden = np.asarray(last_hidden(model.backbone, ROWS.batch))
    for row, end in enumerate(np.asarray(ENDS)):
        last = hidden[row, end]
        np.testing.assert_allclose(judged.rewards[row], last @ np.asarray(model.reward), rtol=1e-4)
        for aspect in range(4):
            inner = last @ np.asarray(model.grader_hidden[aspect])
            logits = (inner / (1 + np.exp(-inner))) @ np.asarray(model.grader_out[aspect])
            np.testing.assert_allclose(judged.grade_logits[row, aspect], logits, rtol=1e-3, atol=1e-4)


def test_what_comes_after_the_answer_does_not_count(model: RewardModel, judged: Judgement) -> None:
    other = ROWS.batch._replace(tokens=ROWS.tokens + (np.arange(8)[None, :] > np.asarray(ENDS)[:, None]) * 3)
    np.testing.assert_allclose(model(other, ENDS).rewards, judged.rewards, rtol=1e-5)


def test_at_first_no_answer_is_better(pair: Pair) -> None:
    fresh = init_reward_model(pair.model, jax.random.key(0))(ROWS.batch, ENDS)
    assert not np.asarray(fresh.rewards).any()
    assert not np.asarray(fresh.grade_logits).any()
