"""Answers that share their prompt's keys see what each would see alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.model.answer_cache import AnswerCache, answer_caches
from codling.model.attention import attend_masked
from codling.model.kv_cache import KVCache

TOLERANCE = 1e-5
NUM_PROMPTS, NUM_ANSWERS, NUM_TOKENS, NUM_SLOTS = 2, 3, 4, 6
NUM_HEADS, NUM_KV, HEAD_DIM = 4, 2, 8
LENGTHS = np.array([5, 2], np.int32)
"""Of the prompts, which are padded to six slots."""

RANDOM = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


BATCH = NUM_PROMPTS * NUM_ANSWERS
PROMPT_KEYS, PROMPT_VALUES = (draw(NUM_PROMPTS, 6, NUM_KV, HEAD_DIM) for _ in range(2))
QUERIES = draw(BATCH, NUM_TOKENS, NUM_HEADS, HEAD_DIM)
KEYS, VALUES = (draw(BATCH, NUM_TOKENS, NUM_KV, HEAD_DIM) for _ in range(2))


def make_caches(num_layers: int = 1) -> list[AnswerCache]:
    """Padding is rubbish that must not be seen."""
    is_padding = (np.arange(6)[None] >= LENGTHS[:, None])[:, :, None, None]
    keys, values = (np.where(is_padding, 1e6, x).astype(np.float32) for x in (PROMPT_KEYS, PROMPT_VALUES))
    stacked = KVCache(*(jnp.stack([jnp.asarray(x)] * num_layers) for x in (keys, values, LENGTHS)))
    return answer_caches(stacked, NUM_ANSWERS, NUM_SLOTS)


@pytest.fixture(scope="module")
def attended() -> np.ndarray:
    """Token by token."""
    (cache,), found = make_caches(), []
    step = jax.jit(lambda cache, *new: cache.attend(*new))
    for token in range(NUM_TOKENS):
        part, cache = step(cache, *(x[:, token : token + 1] for x in (QUERIES, KEYS, VALUES)))
        found.append(part)
    assert int(cache.num_tokens) == NUM_TOKENS
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize("row", range(BATCH))
def test_an_answer_sees_its_prompt_and_itself(attended: np.ndarray, row: int) -> None:
    prompt, length = row // NUM_ANSWERS, LENGTHS[row // NUM_ANSWERS]
    keys = np.concatenate([PROMPT_KEYS[prompt, :length], KEYS[row]])[None]
    values = np.concatenate([PROMPT_VALUES[prompt, :length], VALUES[row]])[None]
    mask = np.tril(np.ones((1, NUM_TOKENS, length + NUM_TOKENS), bool), k=length)
    alone = jax.jit(attend_masked)(QUERIES[row][None], keys, values, mask)
    np.testing.assert_allclose(attended[row], alone[0], rtol=1e-4, atol=TOLERANCE)


def test_every_layer_has_arrays_of_its_own() -> None:
    first, second = make_caches(num_layers=2)
    step = jax.jit(lambda cache, *new: cache.attend(*new))
    _, grown = step(first, *(x[:, :1] for x in (QUERIES, KEYS, VALUES)))
    assert np.asarray(grown.keys).any()
    assert not np.asarray(second.keys).any()
    np.testing.assert_array_equal(second.prompt_keys, first.prompt_keys)


def test_a_prompt_is_kept_once_whatever_the_number_of_answers() -> None:
    (cache,) = make_caches()
    assert cache.prompt_keys.shape == (NUM_PROMPTS, NUM_KV, 6, HEAD_DIM)
    assert cache.keys.shape == (NUM_PROMPTS, NUM_KV, NUM_ANSWERS, HEAD_DIM, NUM_SLOTS)
