import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.model import attention_chunks as module
from codling.model.attention_blocks import attend_in_blocks
from codling.model.attention_chunks import attend_in_chunks

LENGTH = 24


def draw() -> tuple[jax.Array, ...]:
    random = np.random.default_rng(0)
    queries, keys, values = (jnp.asarray(random.normal(size=(2, LENGTH, n, 4)), jnp.float32) for n in (4, 2, 2))
    segments = np.stack([np.searchsorted([7, 15], np.arange(LENGTH), side="right") + 1, np.ones(LENGTH)])
    return queries, keys, values, jnp.asarray(segments, jnp.int32)


@pytest.mark.parametrize("with_prefixes", [False, True])
@pytest.mark.parametrize(("start", "stop"), [(0, 24), (0, 8), (8, 16), (18, 24), (23, 24)])
def test_a_part_of_a_row_sees_what_it_sees_in_the_whole_row(
    monkeypatch: pytest.MonkeyPatch, start: int, stop: int, with_prefixes: bool
) -> None:
    monkeypatch.setattr(module, "MAX_CHUNK_LENGTH_TOKENS", 3)
    queries, keys, values, segments = draw()
    prefixes = jnp.ones_like(segments) if with_prefixes else None
    own_prefixes = None if prefixes is None else prefixes[:, start:stop]
    part = attend_in_chunks(
        queries[:, start:stop], keys, values, segments[:, start:stop], segments, start, own_prefixes
    )
    whole = attend_in_blocks(queries, keys, values, segments, prefixes)
    np.testing.assert_allclose(part, whole[:, start:stop], rtol=1e-4, atol=1e-5)


def test_the_gradient_is_that_of_the_whole_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CHUNK_LENGTH_TOKENS", 8)
    *heads, segments = draw()

    def in_parts(heads: list[jax.Array]) -> jax.Array:
        queries, keys, values = heads
        halves = [
            attend_in_chunks(queries[:, i : i + 12], keys, values, segments[:, i : i + 12], segments, i)
            for i in (0, 12)
        ]
        return jnp.sum(jnp.sin(jnp.concatenate(halves, axis=1)))

    found = jax.jit(jax.grad(in_parts))(heads)
    expected = jax.jit(
        jax.grad(lambda heads: jnp.sum(jnp.sin(attend_in_blocks(heads[0], heads[1], heads[2], segments))))
    )(heads)
    for left, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-4)
