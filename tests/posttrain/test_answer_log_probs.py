from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.posttrain.answer_log_probs import TokenLogProbs, answer_log_probs, sum_answers

ROWS, PLACES, MODEL_DIM, VOCAB_SIZE = 3, 7, 5, 17
RANDOM = np.random.default_rng(0)
HIDDEN = jnp.asarray(RANDOM.normal(size=(ROWS, PLACES, MODEL_DIM)), jnp.float32)
EMBEDDING = jnp.asarray(RANDOM.normal(size=(VOCAB_SIZE, MODEL_DIM)), jnp.float32)
TARGETS = jnp.asarray(RANDOM.integers(0, VOCAB_SIZE, size=(ROWS, PLACES)))
MASK = jnp.asarray([[0, 0, 1, 1, 1, 0, 0], [0] * 7, [1] * 7], bool)
UPSTREAM = jnp.asarray(RANDOM.normal(size=(ROWS, PLACES)), jnp.float32)
TOLERANCE = 1e-5


def naive(hidden: Any, embedding: Any, targets: Any = TARGETS, mask: Any = MASK) -> TokenLogProbs:
    log_probs = jax.nn.log_softmax(hidden @ embedding.T, axis=-1)
    picked = jnp.take_along_axis(log_probs, targets[..., None], axis=-1)[..., 0]
    entropies = -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)
    return TokenLogProbs(jnp.where(mask, picked, 0.0), jnp.where(mask, entropies, 0.0))


@pytest.mark.parametrize("chunk_length", [1, 4, 21, 512])
def test_chunks_equal_the_naive_one_and_its_gradient(chunk_length: int) -> None:
    @jax.jit
    def both(hidden: jax.Array, embedding: jax.Array) -> Any:
        def value(compute: Any, hidden: jax.Array, embedding: jax.Array) -> Any:
            figures = compute(hidden, embedding)
            return jnp.sum(figures.log_probs * UPSTREAM) + jnp.sum(figures.entropies * UPSTREAM), figures

        chunked = partial(
            answer_log_probs, targets=TARGETS, mask=MASK, with_entropies=True, chunk_length_tokens=chunk_length
        )
        return tuple(
            jax.value_and_grad(partial(value, compute), (0, 1), has_aux=True)(hidden, embedding)
            for compute in (chunked, naive)
        )

    ours, theirs = both(HIDDEN, EMBEDDING)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), ours, theirs)


def test_without_entropies_there_are_none() -> None:
    figures = answer_log_probs(HIDDEN, EMBEDDING, TARGETS, MASK)
    assert figures.entropies is None
    np.testing.assert_allclose(figures.log_probs, naive(HIDDEN, EMBEDDING).log_probs, rtol=1e-4, atol=TOLERANCE)


def test_what_is_masked_is_exactly_zero_and_learns_nothing() -> None:
    wild = jnp.where(MASK[..., None], HIDDEN, 1e30)

    def total(hidden: jax.Array) -> jax.Array:
        return answer_log_probs(hidden, EMBEDDING, TARGETS, MASK, chunk_length_tokens=4).log_probs.sum()

    (value, gradient), (expected, expected_gradient) = (jax.value_and_grad(total)(h) for h in (wild, HIDDEN))
    assert value == expected
    np.testing.assert_array_equal(gradient, expected_gradient)
    assert not gradient[~MASK].any()


def test_float32_comes_out_of_half_precision() -> None:
    half = answer_log_probs(HIDDEN.astype(jnp.bfloat16), EMBEDDING, TARGETS, MASK).log_probs
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, naive(HIDDEN, EMBEDDING).log_probs, atol=0.1)


def test_the_logits_of_a_batch_are_never_alive() -> None:
    places, vocab_size, chunk_length = 256, 4096, 32
    hidden, embedding = jnp.ones((4, places, 8)), jnp.ones((vocab_size, 8))
    targets, mask = jnp.ones((4, places), jnp.int32), jnp.ones((4, places), bool)

    def temporary_bytes(compute: Any) -> int:
        def value(hidden: Any, embedding: Any) -> jax.Array:
            return jnp.sum(jnp.square(compute(hidden, embedding, targets, mask).log_probs))

        memory = jax.jit(jax.value_and_grad(value, (0, 1))).lower(hidden, embedding).compile().memory_analysis()
        assert memory is not None
        return int(memory.temp_size_in_bytes)

    logits_bytes = 4 * places * vocab_size * 4
    assert temporary_bytes(naive) >= logits_bytes
    assert temporary_bytes(partial(answer_log_probs, chunk_length_tokens=chunk_length)) < logits_bytes / 4


def test_sums_are_over_the_rows_own_mask() -> None:
    sums = sum_answers(jnp.where(MASK, UPSTREAM, jnp.nan), MASK)
    np.testing.assert_allclose(sums.log_prob, (np.asarray(UPSTREAM) * np.asarray(MASK)).sum(axis=1), rtol=1e-4)
    np.testing.assert_array_equal(sums.num_tokens, [3, 0, 7])
