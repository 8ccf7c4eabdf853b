import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.model.dropout import Dropout
from codling.model.execution import ComputeConfig, Execution
from codling.model.kv_cache import KVCache, empty_cache
from codling.model.transformer import Transformer

TOLERANCE = 1e-5
THETA = 500_000.0

LENGTH = 12
TOKENS = np.random.default_rng(0).integers(0, 61, size=(2, LENGTH))
POSITIONS = np.tile(np.arange(LENGTH), (2, 1))
ONE_DOCUMENT = np.ones((2, LENGTH), np.int32)


@eqx.filter_jit
def run(
    model: Transformer,
    tokens: np.ndarray,
    positions: np.ndarray = POSITIONS,
    segment_ids: np.ndarray = ONE_DOCUMENT,
    theta: float = THETA,
    unroll: bool = False,
    dropout: Dropout | None = None,
) -> jax.Array:
    arrays = (jnp.asarray(array) for array in (tokens, positions, segment_ids))
    execution = Execution(ComputeConfig(unroll_layers=unroll))
    return model(*arrays, rope_theta=theta, execution=execution, dropout=dropout)


@eqx.filter_jit
def extend(model: Transformer, tokens: np.ndarray, cache: KVCache) -> tuple[jax.Array, KVCache]:
    return model.extend(jnp.asarray(tokens), cache, rope_theta=THETA)


@pytest.fixture(scope="module")
def hidden(tiny_model: Transformer) -> jax.Array:
    """Both rows as one document each."""
    return run(tiny_model, TOKENS)


def test_packed_documents_equal_documents_alone(tiny_model: Transformer) -> None:
    cuts = [(0, 5), (5, 9), (9, LENGTH)]
    segments, positions = np.zeros((2, LENGTH), np.int32), np.zeros((2, LENGTH), np.int32)
    for number, (begin, end) in enumerate(cuts):
        segments[:, begin:end], positions[:, begin:end] = number + 1, np.arange(end - begin)
    packed = run(tiny_model, TOKENS, positions, segments)
    for begin, end in cuts:
        alone = np.zeros_like(TOKENS)
        alone[:, : end - begin] = TOKENS[:, begin:end]  # what follows is later, so it does not matter
        np.testing.assert_allclose(
            packed[:, begin:end], run(tiny_model, alone)[:, : end - begin], rtol=1e-4, atol=TOLERANCE
        )


def test_a_token_does_not_see_what_comes_later(tiny_model: Transformer, hidden: jax.Array) -> None:
    changed = TOKENS.copy()
    changed[:, 7] = (changed[:, 7] + 1) % 61
    after = run(tiny_model, changed)
    np.testing.assert_array_equal(after[:, :7], hidden[:, :7])
    assert (np.abs(after[:, 7:] - hidden[:, 7:]).max(axis=-1) > TOLERANCE).all()


def test_scanned_layers_equal_unrolled_ones(tiny_model: Transformer, hidden: jax.Array) -> None:
    np.testing.assert_allclose(run(tiny_model, TOKENS, unroll=True), hidden, rtol=1e-4, atol=TOLERANCE)


def test_only_the_distance_of_positions_counts(tiny_model: Transformer, hidden: jax.Array) -> None:
    np.testing.assert_allclose(run(tiny_model, TOKENS, POSITIONS + 40), hidden, rtol=1e-3, atol=1e-4)
    assert np.abs(np.asarray(run(tiny_model, TOKENS, POSITIONS * 2) - hidden)).max() > 1e-3


def test_the_rotary_base_is_an_argument_and_the_first_token_has_no_angle(
    tiny_model: Transformer, hidden: jax.Array
) -> None:
    other = run(tiny_model, TOKENS, theta=10.0)
    np.testing.assert_array_equal(other[:, 0], hidden[:, 0])
    assert np.abs(np.asarray(other - hidden)).max() > 1e-3
    np.testing.assert_array_equal(run(tiny_model, TOKENS), hidden)


@pytest.mark.parametrize("pieces", [[12], [5, 4, 3]])
def test_growing_a_cache_equals_the_full_forward(tiny_model: Transformer, hidden: jax.Array, pieces: list[int]) -> None:
    cache, begin = empty_cache(tiny_model.config, 2, LENGTH + 3, tiny_model.embedding.dtype), 0
    for length in pieces:
        piece, cache = extend(tiny_model, TOKENS[:, begin : begin + length], cache)
        cache = KVCache(cache.keys, cache.values, cache.positions + length)
        np.testing.assert_allclose(piece, hidden[:, begin : begin + length], rtol=1e-4, atol=TOLERANCE)
        begin += length


def test_layers_with_a_cache_each_equal_the_full_forward(tiny_model: Transformer, hidden: jax.Array) -> None:
    cache = empty_cache(tiny_model.config, 2, LENGTH, tiny_model.embedding.dtype)
    caches = [jax.tree.map(lambda leaf, n=n: leaf[n], cache) for n in range(tiny_model.config.num_layers)]

    @eqx.filter_jit
    def run_layers(model: Transformer, tokens: np.ndarray, positions: np.ndarray) -> tuple[jax.Array, list[KVCache]]:
        return model.extend_layers(jnp.asarray(tokens), jnp.asarray(positions), caches, rope_theta=THETA)

    found, grown = run_layers(tiny_model, TOKENS, POSITIONS)
    np.testing.assert_allclose(found, hidden, rtol=1e-4, atol=TOLERANCE)
    assert len(grown) == tiny_model.config.num_layers


def test_both_embeddings_are_one_matrix(tiny_model: Transformer, hidden: jax.Array) -> None:
    expected = np.asarray(hidden) @ np.asarray(tiny_model.embedding).T
    np.testing.assert_allclose(tiny_model.logits(hidden), expected, rtol=1e-4, atol=TOLERANCE)
    with_vocabulary = [leaf for leaf in jax.tree.leaves(tiny_model) if tiny_model.config.vocab_size in leaf.shape]
    assert len(with_vocabulary) == 1


def test_the_layers_are_applied_in_order(tiny_model: Transformer, hidden: jax.Array) -> None:
    backwards = dataclasses.replace(tiny_model, blocks=jax.tree.map(lambda leaf: leaf[::-1], tiny_model.blocks))
    assert np.abs(np.asarray(run(backwards, TOKENS) - hidden)).max() > 1e-3


def test_dropout_is_drawn_by_its_key_alone_scanned_or_unrolled(tiny_model: Transformer, hidden: jax.Array) -> None:
    first, second = (run(tiny_model, TOKENS, dropout=Dropout(jax.random.key(seed), 0.1)) for seed in (0, 1))
    again = run(tiny_model, TOKENS, unroll=True, dropout=Dropout(jax.random.key(0), 0.1))
    np.testing.assert_allclose(again, first, rtol=1e-4, atol=TOLERANCE)
    for one, other in ((first, second), (first, hidden), (first[0, :1], first[1, :1])):
        assert np.abs(np.asarray(one - other)).max() > 1e-3


def test_a_dropout_of_nothing_drops_nothing(tiny_model: Transformer, hidden: jax.Array) -> None:
    np.testing.assert_array_equal(run(tiny_model, TOKENS, dropout=Dropout(jax.random.key(0), 0.0)), hidden)
