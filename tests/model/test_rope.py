from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.model.rope import rotary, rotate

HEAD_DIM = 8
TOLERANCE = 1e-5


@partial(jax.jit, static_argnames="theta")
def turn(heads: np.ndarray, positions: np.ndarray, theta: float) -> jax.Array:
    return rotate(jnp.asarray(heads), rotary(jnp.asarray(positions), HEAD_DIM, theta))


def draw(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, 5, 3, HEAD_DIM)).astype(np.float32)


def reference(heads: np.ndarray, positions: np.ndarray, theta: float) -> np.ndarray:
    """Each pair (i, i + H/2) is a complex number, turned by position * theta^(-2i/H)."""
    half = heads.shape[-1] // 2
    frequencies = theta ** (-2 * np.arange(half) / heads.shape[-1])
    turned = (heads[..., :half] + 1j * heads[..., half:]) * np.exp(1j * positions[:, :, None, None] * frequencies)
    return np.concatenate([turned.real, turned.imag], axis=-1)


@pytest.mark.parametrize("shift", [1, 7, 1000])
def test_scores_depend_on_the_distance_of_positions_only(shift: int) -> None:
    queries, keys = draw(0), draw(1)
    query_positions, key_positions = np.array([[3, 9, 4, 0, 20]] * 2), np.array([[0, 2, 11, 5, 20]] * 2)

    def scores(offset: int) -> np.ndarray:
        turned_queries = turn(queries, query_positions + offset, 500_000.0)
        turned_keys = turn(keys, key_positions + offset, 500_000.0)
        return np.asarray(np.einsum("btnh,bsnh->bnts", turned_queries, turned_keys))

    np.testing.assert_allclose(scores(0), scores(shift), atol=1e-3)


def test_a_rotation_keeps_lengths_and_position_zero_is_no_rotation() -> None:
    heads = draw(0)
    turned = turn(heads, np.arange(5)[None].repeat(2, 0), 500_000.0)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=-1), np.linalg.norm(heads, axis=-1), rtol=TOLERANCE)
    np.testing.assert_array_equal(turned[:, 0], heads[:, 0])
    assert not np.allclose(turned[:, 1], heads[:, 1])


def test_two_bases_in_one_process_each_give_their_own_angles() -> None:
    heads, positions = draw(0), np.array([[0, 1, 2, 50, 300], [7, 6, 5, 4, 3]])
    turned = {theta: turn(heads, positions, theta) for theta in (10_000.0, 500_000.0)}
    for theta, result in turned.items():
        expected = reference(heads, positions, theta)
        np.testing.assert_allclose(result, expected, atol=1e-4)
    assert np.abs(turned[10_000.0] - turned[500_000.0]).max() > 0.1


def test_angles_are_float32_while_heads_keep_their_own_dtype() -> None:
    angles = rotary(jnp.arange(5)[None], HEAD_DIM, 500_000.0)
    assert angles.cosine.dtype == jnp.float32
    assert angles.sine.shape == (1, 5, HEAD_DIM // 2)
    assert rotate(jnp.asarray(draw(0)[:1], jnp.bfloat16), angles).dtype == jnp.bfloat16
