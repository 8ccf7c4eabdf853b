import jax
import jax.numpy as jnp
import numpy as np

from codling.model.linear import Linear

WEIGHT = jax.random.normal(jax.random.key(0), (3, 5))


def test_is_linear() -> None:
    layer, x, y = Linear(WEIGHT), jnp.linspace(-1, 1, 5), jnp.linspace(2, 3, 5)
    np.testing.assert_allclose(layer(2.0 * x + y), 2.0 * layer(x) + layer(y), rtol=1e-5)
    np.testing.assert_array_equal(layer(jnp.zeros((2, 5))), np.zeros((2, 3)))


def test_the_weight_is_out_by_in() -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 5)).astype(np.float32)
    np.testing.assert_allclose(Linear(WEIGHT)(jnp.asarray(x)), x @ np.asarray(WEIGHT).T, rtol=1e-5)


def test_computes_in_the_dtype_of_its_input() -> None:
    assert Linear(WEIGHT)(jnp.ones((2, 5), jnp.bfloat16)).dtype == jnp.bfloat16
