"""The kernels that JAX brings along see what our own sees; without their hardware, by reference or step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.model.attention_blocks import attend_in_blocks
from codling.model.attention_fused import attend_cudnn, attend_splash

LENGTH, HEAD_DIM = 128, 128


def draw() -> tuple[jax.Array, ...]:
    """Scaled queries of 4 heads, keys and values of 2, and three documents in one row."""
    random = np.random.default_rng(0)
    shapes = ((1, LENGTH, 4, HEAD_DIM), (1, LENGTH, 2, HEAD_DIM), (1, LENGTH, 2, HEAD_DIM))
    queries, keys, values = (jnp.asarray(random.normal(size=shape), jnp.float32) for shape in shapes)
    segments = jnp.asarray(np.searchsorted([40, 90], np.arange(LENGTH), side="right")[None] + 1, jnp.int32)
    return queries / HEAD_DIM**0.5, keys, values, segments


@pytest.mark.parametrize("with_prefixes", [False, True])
def test_cudnn_sees_what_our_blocks_see(with_prefixes: bool) -> None:
    *arguments, segments = draw()
    arguments += [segments, jnp.ones_like(segments)] if with_prefixes else [segments]
    with jax.numpy_dtype_promotion("standard"):
        attended = attend_cudnn(*arguments, implementation="xla")
    np.testing.assert_allclose(attended, attend_in_blocks(*arguments), rtol=1e-4, atol=1e-5)


def test_splash_sees_what_our_blocks_see() -> None:
    arguments = draw()
    with jax.numpy_dtype_promotion("standard"):
        attended = attend_splash(*arguments, interpret=True)
    np.testing.assert_allclose(attended, attend_in_blocks(*arguments), rtol=1e-4, atol=1e-5)
