from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.model.generate import Generated, Sampling, extend_cache, generate, sample
from codling.model.kv_cache import empty_cache
from codling.model.transformer import Transformer

TOLERANCE = 1e-4
NUM_NEW = 6
LENGTHS = np.array([3, 7, 5], np.int32)
PROMPTS = np.random.default_rng(0).integers(1, 61, size=(3, 7)) * (np.arange(7) < LENGTHS[:, None])
LOGITS = np.log([[0.5, 0.25, 0.15, 0.07, 0.03]]).astype(np.float32)
HOT = Sampling(temperature=1.3, top_p=0.9)


def answer(
    model: Transformer,
    prompts: np.ndarray = PROMPTS,
    *,
    seed: int = 0,
    sampling: Sampling = Sampling(),  # noqa: B008
    stop_ids: tuple[int, ...] = (),
) -> Generated:
    return generate(
        model,
        jnp.asarray(prompts),
        jnp.asarray(LENGTHS),
        jax.random.key(seed),
        max_new_tokens=NUM_NEW,
        stop_ids=stop_ids,
        sampling=sampling,
    )


@eqx.filter_jit
def all_logits(model: Transformer, tokens: np.ndarray) -> jax.Array:
    places = jnp.broadcast_to(jnp.arange(tokens.shape[1])[None], tokens.shape)
    return model.logits(
        model(jnp.asarray(tokens), places, jnp.ones(tokens.shape, jnp.int32), rope_theta=model.config.rope_theta)
    )


@pytest.fixture(scope="module")
def greedy(tiny_model: Transformer) -> Generated:
    return answer(tiny_model)


def draw_many(sampling: Sampling, count: int = 4000) -> np.ndarray:
    keys = jax.random.split(jax.random.key(7), count)
    drawn = jax.jit(partial(sample, sampling=sampling))(np.repeat(LOGITS, count, axis=0), keys)
    return np.bincount(drawn, minlength=LOGITS.shape[1]) / count


def test_greedy_is_the_argmax_of_the_full_forward_token_by_token(tiny_model: Transformer, greedy: Generated) -> None:
    rows = np.concatenate([PROMPTS, np.zeros((3, NUM_NEW), PROMPTS.dtype)], axis=1)
    for step in range(NUM_NEW):
        logits = np.asarray(all_logits(tiny_model, rows))
        best = logits[np.arange(3), LENGTHS + step - 1].argmax(axis=-1)
        np.testing.assert_array_equal(greedy.tokens[:, step], best)
        rows[np.arange(3), LENGTHS + step] = best


def test_extended_caches_equal_the_full_forward_in_prompts_of_different_lengths(
    tiny_model: Transformer,
) -> None:
    cache = empty_cache(tiny_model.config, 3, 10, tiny_model.embedding.dtype)
    first, second = np.array([2, 4, 1], np.int32), np.array([1, 3, 4], np.int32)
    # A second piece of another length for each row, as the turns of a chat have.
    pieces = np.stack([np.pad(PROMPTS[b, n : n + 4], (0, 4))[:4] for b, n in enumerate(first)])
    _, cache = extend_cache(tiny_model, cache, jnp.asarray(PROMPTS[:, :4]), jnp.asarray(first))
    logits, cache = extend_cache(tiny_model, cache, jnp.asarray(pieces), jnp.asarray(second))
    expected = np.asarray(all_logits(tiny_model, PROMPTS))[np.arange(3), first + second - 1]
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=TOLERANCE)
    np.testing.assert_array_equal(cache.positions, np.tile(first + second, (tiny_model.config.num_layers, 1)))


def test_an_answer_ends_with_its_stop_token_and_zeros_follow(tiny_model: Transformer, greedy: Generated) -> None:
    stop = int(greedy.tokens[0, 2])
    stopped = answer(tiny_model, stop_ids=(stop, 60))
    for row in range(3):
        is_stop = np.isin(greedy.tokens[row], [stop, 60])
        length = int(is_stop.argmax()) + 1 if is_stop.any() else NUM_NEW
        assert int(stopped.lengths_tokens[row]) == length
        np.testing.assert_array_equal(stopped.tokens[row, :length], greedy.tokens[row, :length])
        assert not stopped.tokens[row, length:].any()
    assert int(stopped.lengths_tokens[0]) <= 3


def test_a_row_does_not_depend_on_its_neighbors(tiny_model: Transformer) -> None:
    others = PROMPTS.copy()
    others[1:] = others[1:, ::-1]
    np.testing.assert_array_equal(
        answer(tiny_model, sampling=HOT).tokens[0], answer(tiny_model, others, sampling=HOT).tokens[0]
    )


def test_a_seed_gives_one_answer_another_seed_another_and_rows_differ(tiny_model: Transformer) -> None:
    same_prompt = np.tile(PROMPTS[1], (3, 1))
    drawn = answer(tiny_model, same_prompt, sampling=HOT)
    np.testing.assert_array_equal(answer(tiny_model, same_prompt, sampling=HOT).tokens, drawn.tokens)
    assert not np.array_equal(answer(tiny_model, same_prompt, seed=1, sampling=HOT).tokens, drawn.tokens)
    # All rows draw the first token from one distribution, each with a key of its own.
    assert len({tuple(np.asarray(row)) for row in drawn.tokens}) > 1


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.3, [0]), (0.5, [0]), (0.6, [0, 1]), (0.8, [0, 1, 2]), (1.0, [0, 1, 2, 3, 4])]
)
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p: float, kept: list[int]) -> None:
    probabilities = np.exp(LOGITS[0]) * np.isin(np.arange(5), kept)
    shares = draw_many(Sampling(temperature=1.0, top_p=top_p))
    np.testing.assert_array_equal(shares > 0, probabilities > 0)
    np.testing.assert_allclose(shares, probabilities / probabilities.sum(), atol=0.03)


def test_temperature_divides_the_logits_and_zero_takes_the_best() -> None:
    expected = np.exp(LOGITS[0] / 0.5) / np.exp(LOGITS[0] / 0.5).sum()
    np.testing.assert_allclose(draw_many(Sampling(temperature=0.5)), expected, atol=0.03)
    np.testing.assert_array_equal(draw_many(Sampling(temperature=0.0)), [1, 0, 0, 0, 0])


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_draws_are_those_of_jax(temperature: float) -> None:
    random = np.random.default_rng(0)
    logits = jnp.asarray(random.integers(0, 9, size=(64, 61)) / 4.0, jnp.float32)  # with many equals
    keys = jax.random.split(jax.random.key(3), 64)
    drawn = jax.jit(partial(sample, sampling=Sampling(temperature)))(logits, keys)
    expected = jax.vmap(jax.random.categorical)(keys, logits) if temperature else jnp.argmax(logits, axis=1)
    np.testing.assert_array_equal(drawn, expected)


def test_logits_that_are_no_numbers_draw_a_token_of_the_vocabulary() -> None:
    drawn = sample(jnp.full((2, 5), jnp.nan), jax.random.split(jax.random.key(0), 2), Sampling(1.0))
    assert ((np.asarray(drawn) >= 0) & (np.asarray(drawn) < 5)).all()
