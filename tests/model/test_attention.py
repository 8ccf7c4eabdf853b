import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.model.attention import attend_masked
from codling.model.packed_rows import PackedRows
from codling.model.rope import rotary
from codling.model.transformer import Transformer

TOLERANCE = 1e-5
BATCH, LENGTH, NUM_QUERY_HEADS, NUM_KV_HEADS, HEAD_DIM = 2, 5, 6, 2, 4
RANDOM = np.random.default_rng(0)


def draw(num_heads: int) -> np.ndarray:
    return RANDOM.normal(size=(BATCH, LENGTH, num_heads, HEAD_DIM)).astype(np.float32)


QUERIES, KEYS, VALUES = draw(NUM_QUERY_HEADS), draw(NUM_KV_HEADS), draw(NUM_KV_HEADS)
MASK = (RANDOM.uniform(size=(BATCH, LENGTH, LENGTH)) < 0.6) | np.eye(LENGTH, dtype=bool)

attend = jax.jit(attend_masked)


def reference(queries: np.ndarray, keys: np.ndarray, values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Row by row, head by head, query by query."""
    result = np.zeros_like(queries)
    served = queries.shape[2] // keys.shape[2]
    for b, t, n in np.ndindex(*queries.shape[:3]):
        scores = keys[b, mask[b, t], n // served] @ queries[b, t, n] / np.sqrt(queries.shape[3])
        weights = np.exp(scores - scores.max())
        result[b, t, n] = weights / weights.sum() @ values[b, mask[b, t], n // served]
    return result


def test_what_is_masked_does_not_matter() -> None:
    is_hidden = ~MASK[0, 2][None, :, None, None]
    assert is_hidden.any()
    changed = attend(QUERIES, np.where(is_hidden, 99, KEYS), np.where(is_hidden, -99, VALUES), MASK)
    np.testing.assert_array_equal(changed[0, 2], attend(QUERIES, KEYS, VALUES, MASK)[0, 2])


def test_grouped_heads_equal_repeated_heads() -> None:
    served = NUM_QUERY_HEADS // NUM_KV_HEADS
    repeated = attend(QUERIES, np.repeat(KEYS, served, 2), np.repeat(VALUES, served, 2), MASK)
    np.testing.assert_allclose(attend(QUERIES, KEYS, VALUES, MASK), repeated, rtol=1e-4, atol=TOLERANCE)


def test_a_query_that_sees_nothing_gets_the_mean_and_not_nan() -> None:
    attended = attend(QUERIES, KEYS, VALUES, np.zeros_like(MASK))
    np.testing.assert_allclose(attended[0, 0, 0], VALUES[0, :, 0].mean(axis=0), rtol=1e-4, atol=TOLERANCE)


def test_equals_the_formula() -> None:
    expected = reference(QUERIES, KEYS, VALUES, MASK)
    np.testing.assert_allclose(attend(QUERIES, KEYS, VALUES, MASK), expected, rtol=1e-4, atol=TOLERANCE)


@pytest.mark.parametrize("scale", [10.0, 0.1])
def test_with_normalized_queries_and_keys_only_their_direction_counts(tiny_model: Transformer, scale: float) -> None:
    @jax.jit
    def run(x: jax.Array) -> jax.Array:
        layer = jax.tree.map(lambda leaf: leaf[0], tiny_model.blocks).attention
        angles = rotary(jnp.arange(LENGTH)[None], tiny_model.config.head_dim, 500_000.0)
        attended: jax.Array = layer(x, angles, PackedRows(jnp.ones((1, LENGTH), jnp.int32)))[0]
        return attended

    x = RANDOM.normal(size=(1, LENGTH, tiny_model.config.model_dim)).astype(np.float32)
    # The values are linear in x, so its size comes out again.
    np.testing.assert_allclose(run(x), run(x * np.float32(scale)) / scale, rtol=0.02, atol=2e-3)
