"""A reward is that of the row alone: whatever shares its batch, in whatever order, however far it is padded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.data.loader import Batch
from codling.posttrain import reward_answers as module
from codling.posttrain.reward_answers import reward_answers
from codling.posttrain.reward_model import RewardModel, init_reward_model
from codling.tokenizer.special_tokens import END
from tests.conftest import Pair

RANDOM = np.random.default_rng(0)
NUM_ROWS = 7
PROMPTS = [RANDOM.integers(10, 300, size=size).tolist() for size in RANDOM.integers(1, 50, NUM_ROWS)]
ANSWERS = [[*RANDOM.integers(10, 300, size=size).tolist(), END.id] for size in RANDOM.integers(1, 30, NUM_ROWS)]
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def model(pair: Pair) -> RewardModel:
    fresh = init_reward_model(pair.model, jax.random.key(0))
    head = jnp.asarray(RANDOM.normal(size=fresh.reward.shape), jnp.float32)
    return RewardModel(pair.model, head, fresh.grader_hidden, fresh.grader_out)


@pytest.fixture(scope="module")
def rewards(model: RewardModel) -> np.ndarray:
    return reward_answers(model, PROMPTS, ANSWERS)


def judge_alone(model: RewardModel, prompt: list[int], answer: list[int]) -> float:
    """One row of exactly its length; the reward is read off at the answer's last token."""
    tokens = np.asarray([prompt + answer], np.int32)
    row = np.zeros_like(tokens)
    places = np.arange(tokens.shape[1], dtype=np.int32)[None]
    batch = Batch(tokens, row, row.astype(np.float32), np.ones_like(tokens), places)
    return float(model(batch, jnp.asarray([tokens.shape[1] - 1])).rewards[0])


def test_a_reward_is_that_of_the_row_alone(model: RewardModel, rewards: np.ndarray) -> None:
    expected = [judge_alone(model, prompt, answer) for prompt, answer in zip(PROMPTS, ANSWERS, strict=True)]
    np.testing.assert_allclose(rewards, expected, rtol=TOLERANCE, atol=TOLERANCE)
    assert np.std(expected) > 0.1


def test_the_order_and_the_size_of_batches_change_nothing(
    model: RewardModel, rewards: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size, seed in ((64, 1), (2, 2)):
        monkeypatch.setattr(module, "BATCH_SIZE_ROWS", size)
        order = np.random.default_rng(seed).permutation(NUM_ROWS)
        found = reward_answers(model, [PROMPTS[row] for row in order], [ANSWERS[row] for row in order])
        np.testing.assert_allclose(found, rewards[order], rtol=TOLERANCE, atol=TOLERANCE)


def test_nobodys_answers_earn_nothing(model: RewardModel) -> None:
    assert reward_answers(model, [], []).shape == (0,)
