import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.model.norm import RMSNorm

EPSILON = 1e-5


def make_norm(dim: int) -> RMSNorm:
    return RMSNorm(jax.random.normal(jax.random.key(0), (dim,)), EPSILON)


def draw(*shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(1), shape)


def test_the_size_of_the_input_does_not_matter() -> None:
    norm, x = make_norm(16), draw(2, 3, 16)
    np.testing.assert_allclose(norm(x * 1000.0), norm(x * 100.0), rtol=1e-4, atol=1e-5)


def test_zero_stays_zero() -> None:
    np.testing.assert_array_equal(make_norm(4)(jnp.zeros((2, 4))), np.zeros((2, 4)))


@pytest.mark.parametrize("shape", [(16,), (3, 16), (2, 3, 4, 16)])
def test_equals_the_formula(shape: tuple[int, ...]) -> None:
    norm, x = make_norm(16), np.asarray(draw(*shape), np.float64)
    expected = x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + EPSILON) * np.asarray(norm.scale)
    np.testing.assert_allclose(norm(draw(*shape)), expected, rtol=1e-5, atol=1e-6)


def test_the_mean_is_taken_in_float32_and_the_result_has_the_dtype_of_the_input() -> None:
    # In bfloat16 the sum of 4096 squares would stop growing at 256.
    x = jnp.ones((4096,), jnp.bfloat16)
    normalized = RMSNorm(jnp.ones(4096), EPSILON)(x)
    assert normalized.dtype == jnp.bfloat16
    np.testing.assert_array_equal(normalized.astype(jnp.float32), np.ones(4096))
