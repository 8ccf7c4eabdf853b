import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.model import attention_blocks as module
from codling.model.attention import attend_masked
from codling.model.packed_rows import PackedRows

TOLERANCE = 1e-5
SHORT_BLOCK = 8

Heads = tuple[np.ndarray, np.ndarray, np.ndarray]


def draw(length: int) -> Heads:
    """Queries, keys, values."""
    random = np.random.default_rng(length)
    query, key, value = (random.normal(size=(2, length, n, 4)).astype(np.float32) for n in (4, 2, 2))
    return query, key, value


def make_segments(length: int) -> np.ndarray:
    """Two rows: three documents and padding; one document."""
    borders = [length // 4, length // 2, length - length // 8]
    cuts = np.searchsorted(borders, np.arange(length), side="right")
    return np.stack([np.array([1, 2, 3, 0])[cuts], np.ones(length)]).astype(np.int32)


def make_prefixes(length: int) -> np.ndarray:
    """The second and third document of the first row continue the first one."""
    segments = make_segments(length)
    return np.where(segments == 0, 0, 1).astype(np.int32)


@jax.jit
def attend_whole(heads: Heads, segment_ids: np.ndarray, prefix_ids: np.ndarray | None = None) -> jax.Array:
    causal = jnp.tril(jnp.ones((segment_ids.shape[1],) * 2, bool))
    is_visible = segment_ids[:, :, None] == segment_ids[:, None, :]
    if prefix_ids is not None:
        is_visible |= prefix_ids[:, :, None] == segment_ids[:, None, :]
    queries, keys, values = map(jnp.asarray, heads)
    return attend_masked(queries, keys, values, causal[None] & is_visible)


def attend_blocks(heads: Heads, segment_ids: np.ndarray, prefix_ids: np.ndarray | None = None) -> jax.Array:
    # A function of its own each time: what jit remembers must not outlive a changed block length.
    @jax.jit
    def run(heads: Heads, segment_ids: np.ndarray, prefix_ids: np.ndarray | None) -> jax.Array:
        prefixes = None if prefix_ids is None else jnp.asarray(prefix_ids)
        return PackedRows(jnp.asarray(segment_ids), prefix_ids=prefixes).attend(*map(jnp.asarray, heads))[0]

    attended: jax.Array = run(heads, segment_ids, prefix_ids)
    return attended


@pytest.mark.parametrize("length", [1, 5, 8, 27])
@pytest.mark.parametrize("with_prefixes", [False, True])
def test_blocks_equal_the_whole_square(monkeypatch: pytest.MonkeyPatch, length: int, with_prefixes: bool) -> None:
    monkeypatch.setattr(module, "BLOCK_LENGTH_TOKENS", SHORT_BLOCK)
    heads, segments = draw(length), make_segments(length)
    prefixes = make_prefixes(length) if with_prefixes else None
    expected = attend_whole(heads, segments, prefixes)
    np.testing.assert_allclose(attend_blocks(heads, segments, prefixes), expected, rtol=1e-4, atol=TOLERANCE)


@pytest.mark.parametrize("with_prefixes", [False, True])
def test_gradients_of_blocks_equal_those_of_the_whole_square(
    monkeypatch: pytest.MonkeyPatch, with_prefixes: bool
) -> None:
    monkeypatch.setattr(module, "BLOCK_LENGTH_TOKENS", SHORT_BLOCK)
    heads, segments = draw(19), make_segments(19)
    prefixes = jnp.asarray(make_prefixes(19)) if with_prefixes else None

    def blocked_sum(heads: Heads) -> jax.Array:
        rows = PackedRows(jnp.asarray(segments), prefix_ids=prefixes)
        return jnp.sum(jnp.sin(rows.attend(*map(jnp.asarray, heads))[0]))

    blocked = jax.jit(jax.grad(blocked_sum))(heads)
    whole = jax.jit(jax.grad(lambda heads: jnp.sum(jnp.sin(attend_whole(heads, segments, prefixes)))))(heads)
    for left, right in zip(blocked, whole, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-4)


def test_a_row_longer_than_a_real_block() -> None:
    length = module.BLOCK_LENGTH_TOKENS + 22
    heads, segments = draw(length), make_segments(length)
    expected = attend_whole(heads, segments)
    np.testing.assert_allclose(attend_blocks(heads, segments), expected, rtol=1e-4, atol=TOLERANCE)


def test_no_token_sees_a_later_one_or_another_document() -> None:
    (queries, keys, values), segments = draw(16), make_segments(16)
    place = 9  # in the third document of row 0, which begins at 8
    is_visible = (np.arange(16) <= place) & (segments[0] == segments[0, place])
    assert 0 < is_visible.sum() < place
    hide = is_visible[None, :, None, None]
    changed_heads = (queries, np.where(hide, keys, 50), np.where(hide, values, 50))
    changed, same = (attend_blocks(heads, segments) for heads in (changed_heads, (queries, keys, values)))
    np.testing.assert_array_equal(changed[0, place], same[0, place])
    assert not np.allclose(changed[0, place + 1], same[0, place + 1])


def test_a_document_sees_the_one_that_it_continues_and_no_other() -> None:
    (queries, keys, values), segments, prefixes = draw(16), make_segments(16), make_prefixes(16)
    place = 9
    is_visible = (np.arange(16) <= place) & np.isin(segments[0], [1, segments[0, place]])
    hide = is_visible[None, :, None, None]
    changed_heads = (queries, np.where(hide, keys, 50), np.where(hide, values, 50))
    changed, same = (attend_blocks(heads, segments, prefixes) for heads in (changed_heads, (queries, keys, values)))
    np.testing.assert_array_equal(changed[0, place], same[0, place])
    apart = attend_blocks((queries, keys, values), segments)
    assert not np.allclose(apart[0, place], same[0, place])
