import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.model.attention import attend_masked
from codling.model.config import ModelConfig
from codling.model.count import kv_cache_bytes_per_token
from codling.model.kv_cache import KVCache, empty_cache

TOLERANCE = 1e-5
NUM_SLOTS, NUM_NEW = 10, 3
STARTS = np.array([0, 4], np.int32)
"""Where the two rows of the batch stand."""

RANDOM = np.random.default_rng(0)


def draw(length: int, num_heads: int = 2) -> np.ndarray:
    return RANDOM.normal(size=(2, length, num_heads, 4)).astype(np.float32)


PAST_KEYS, PAST_VALUES = draw(4), draw(4)
QUERIES, KEYS, VALUES = draw(NUM_NEW, 4), draw(NUM_NEW), draw(NUM_NEW)


@jax.jit
def attend(cache: KVCache, queries: np.ndarray, keys: np.ndarray, values: np.ndarray) -> tuple[jax.Array, KVCache]:
    return cache.attend(jnp.asarray(queries), jnp.asarray(keys), jnp.asarray(values))


def make_cache() -> KVCache:
    """Row 1 has a past of four tokens; all else is rubbish that must not be seen."""
    keys, values = (np.full((2, NUM_SLOTS, 2, 4), 1e6, np.float32) for _ in range(2))
    keys[1, :4], values[1, :4] = PAST_KEYS[1], PAST_VALUES[1]
    return KVCache(jnp.asarray(keys), jnp.asarray(values), jnp.asarray(STARTS))


@pytest.mark.parametrize("row", [0, 1])
def test_rows_grow_at_their_own_positions_and_see_their_own_past_only(row: int) -> None:
    attended, _ = attend(make_cache(), QUERIES, KEYS, VALUES)
    past = STARTS[row]
    keys = np.concatenate([PAST_KEYS[row, :past], KEYS[row]])[None]
    values = np.concatenate([PAST_VALUES[row, :past], VALUES[row]])[None]
    mask = np.tril(np.ones((1, NUM_NEW, past + NUM_NEW), bool), k=past)
    alone = jax.jit(attend_masked)(QUERIES[row][None], keys, values, mask)
    np.testing.assert_allclose(attended[row], alone[0], rtol=1e-4, atol=TOLERANCE)


def test_several_tokens_at_once_equal_one_by_one() -> None:
    at_once, full = attend(make_cache(), QUERIES, KEYS, VALUES)
    cache = make_cache()
    for t in range(NUM_NEW):
        new = slice(t, t + 1)
        attended, cache = attend(cache, QUERIES[:, new], KEYS[:, new], VALUES[:, new])
        cache = KVCache(cache.keys, cache.values, cache.positions + 1)
        np.testing.assert_allclose(attended[:, 0], at_once[:, t], rtol=1e-4, atol=TOLERANCE)
    np.testing.assert_array_equal(cache.keys, full.keys)
    np.testing.assert_array_equal(full.values[1, 4 : 4 + NUM_NEW], VALUES[1])


def test_padding_that_reaches_past_the_last_slot_is_dropped() -> None:
    cache = make_cache()
    near_end = KVCache(cache.keys, cache.values, jnp.asarray([0, NUM_SLOTS - 1]))
    attended, full = attend(near_end, QUERIES, KEYS, VALUES)
    np.testing.assert_array_equal(full.keys[1, :-1], cache.keys[1, :-1])
    np.testing.assert_array_equal(full.keys[1, -1], KEYS[1, 0])
    assert np.isfinite(attended[1, 0]).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_an_empty_cache_takes_the_bytes_that_count_says(tiny_config: ModelConfig, dtype: type) -> None:
    cache = jax.eval_shape(lambda: empty_cache(tiny_config, 3, 20, jnp.dtype(dtype)))
    size_bytes = (cache.keys.size + cache.values.size) * jnp.dtype(dtype).itemsize
    assert size_bytes == 3 * 20 * kv_cache_bytes_per_token(tiny_config, jnp.dtype(dtype).itemsize)
    assert cache.positions.shape == (tiny_config.num_layers, 3)
