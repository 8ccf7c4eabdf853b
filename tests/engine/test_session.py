"""The engine against the JAX model, token for token, and against itself."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from codling.artifact.bundle import load_bundle
from codling.chat.jax_decoder import JaxDecoder
from codling.engine import _native, session
from codling.engine import engine as engine_module
from codling.engine.engine import Engine
from codling.engine.sampling import Sampling
from codling.errors import UserError
from codling.model.generate import Sampling as JaxSampling
from codling.model.transformer import Transformer

FLOAT_TOLERANCE = 1e-4
"""Of logits, relative to the largest: two programs that sum in different orders."""


def random_ids(count: int, seed: int) -> list[int]:
    ids: list[int] = np.random.default_rng(seed).integers(20, 600, count).tolist()
    return ids


def jax_logits(model: Transformer, ids: list[int]) -> np.ndarray:
    tokens = jnp.asarray(ids, jnp.int32)[None]
    positions, ones = jnp.arange(len(ids), dtype=jnp.int32)[None], jnp.ones_like(tokens)
    hidden = model(tokens, positions, ones, rope_theta=model.config.rope_theta)
    logits: np.ndarray = np.asarray(model.logits(hidden))[0]
    return logits


@pytest.fixture(scope="module", params=["server", "device"])
def bundle_and_model(request: pytest.FixtureRequest, pair: Any) -> tuple[Any, Transformer]:
    directory = getattr(pair, request.param)
    return directory, load_bundle(directory).model


PROMPTS = [random_ids(length, seed) for seed, length in enumerate(([1, 3, 16, 63, 64, 80] * 9)[:50])]


@pytest.fixture(scope="module")
def answers_of_jax(bundle_and_model: tuple[Any, Transformer]) -> list[list[int]]:
    """Greedy, to all prompts."""
    decoder = JaxDecoder(bundle_and_model[1], JaxSampling(), 0)
    return [list(decoder.run(prompt, 20, ())) for prompt in PROMPTS]


@pytest.mark.parametrize("kernels", _native.runnable_kernels())
def test_greedy_tokens_are_those_of_jax(
    bundle_and_model: Any, answers_of_jax: list[list[int]], kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODLING_KERNELS", kernels)
    engine = Engine.open(bundle_and_model[0], num_threads=2, rounds_activations=False, kv_type="f32")
    assert engine.kernels == kernels
    for prompt, expected in zip(PROMPTS, answers_of_jax, strict=True):
        assert list(engine.session().run(prompt, 20, ())) == expected


@pytest.mark.parametrize("kernels", _native.runnable_kernels())
def test_logits_are_those_of_jax(bundle_and_model: Any, kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODLING_KERNELS", kernels)
    directory, model = bundle_and_model
    engine, ids = Engine.open(directory, num_threads=1, rounds_activations=False, kv_type="f32"), random_ids(90, 3)
    expected = jax_logits(model, ids)
    for length in (1, 2, 33, 64, 65, 90):
        found = engine.session().logits_after(ids[:length])
        np.testing.assert_allclose(found, expected[length - 1], rtol=0, atol=FLOAT_TOLERANCE * np.abs(expected).max())


@pytest.fixture
def engine(pair: Any) -> Engine:
    return Engine.open(pair.device, num_threads=2)


def test_rounded_activations_are_the_same_in_every_set_of_kernels(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, found = random_ids(70, 4), []
    for kernels in _native.runnable_kernels():
        monkeypatch.setenv("CODLING_KERNELS", kernels)
        found.append(Engine.open(pair.device, num_threads=1).session().logits_after(ids))
    for logits in found[1:]:
        # A sum in another order may round an activation to the next whole number.
        assert np.abs(logits - found[0]).max() < 0.05 * np.abs(found[0]).max()


def test_pieces_of_a_prompt_change_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = random_ids(90, 5)
    whole, reply = engine.session().logits(ids, 30), list(engine.session().run(ids, 5, ()))
    for module in (session, engine_module):
        monkeypatch.setattr(module, "TOKENS_PER_STEP", 7)
    np.testing.assert_array_equal(engine.session().logits(ids, 30), whole)
    for length in (61, 65, 90):
        np.testing.assert_array_equal(engine.session().logits_after(ids[:length]), whole[length - 61])
    with Engine.open(engine.directory, num_threads=2) as other:
        assert list(other.session().run(ids, 5, ())) == reply


@pytest.mark.parametrize("count", [0, 10])
def test_logits_that_cannot_be_are_refused(engine: Engine, count: int) -> None:
    with pytest.raises(UserError, match=f"last {count} of 9 tokens"):
        engine.session().logits(random_ids(9, 0), count)


@pytest.mark.parametrize("num_kept", [0, 4, 20], ids=["other prompt", "shared beginning", "same prompt"])
def test_what_the_cache_remembers_changes_no_token(engine: Engine, num_kept: int) -> None:
    first, other = random_ids(20, 3), random_ids(20, 4)
    prompt = first[:num_kept] + other[num_kept:]
    used = engine.session()
    list(used.run(first, 8, ()))
    assert list(used.run(prompt, 8, ())) == list(engine.session().run(prompt, 8, ()))


@pytest.mark.parametrize("rounds_activations", [False, True])
def test_a_batch_gives_each_sequence_what_it_gets_alone(pair: Any, rounds_activations: bool) -> None:
    engine = Engine.open(pair.device, num_threads=2, rounds_activations=rounds_activations)
    model, adapters = engine._model, [engine.load_adapter(name).weights for name in (None, "none")]
    prompts = [(random_ids(length, length), adapters[length % 2]) for length in (1, 5, 40, 66, 90)]

    def run(parts: list[tuple[list[int], Any]]) -> np.ndarray:
        return model.run([_native.Segment(_native.KvCache(model), 0, ids, adapter) for ids, adapter in parts])

    np.testing.assert_array_equal(run(prompts), np.concatenate([run([one]) for one in prompts]))


def test_it_stops_after_a_stop_token(engine: Engine) -> None:
    free = list(engine.session().run(random_ids(9, 0), 12, ()))
    first_place = free.index(free[5])
    assert list(engine.session().run(random_ids(9, 0), 12, (free[5],))) == free[: first_place + 1]


def test_it_ends_with_the_context(engine: Engine) -> None:
    one = engine.session()
    assert len(list(one.run(random_ids(one.context_length_tokens - 3, 0), 12, ()))) == 3


def test_one_seed_draws_the_same_tokens(engine: Engine) -> None:
    prompt = random_ids(9, 0)
    drawn = [list(engine.session(sampling=Sampling(1.5, seed=seed)).run(prompt, 12, ())) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("surplus", [0, 1, 50])
def test_a_prompt_that_fills_the_context_is_refused(engine: Engine, surplus: int) -> None:
    one = engine.session()
    with pytest.raises(UserError, match=f"{one.context_length_tokens + surplus} tokens.* holds"):
        next(one.run(random_ids(one.context_length_tokens + surplus, 0), 1, ()))


def test_an_empty_prompt_is_refused(engine: Engine) -> None:
    with pytest.raises(UserError, match="empty"):
        next(engine.session().run([], 1, ()))


@pytest.mark.parametrize("token", [-1, 1 << 20])
def test_tokens_outside_of_the_vocabulary_are_refused_and_change_nothing(engine: Engine, token: int) -> None:
    one, ids = engine.session(), random_ids(9, 1)
    expected = one.logits_after(ids)
    with pytest.raises(UserError, match="vocabulary"):
        one.logits_after([*ids, token])
    np.testing.assert_array_equal(one.logits_after(ids), expected)


def test_runs_that_cannot_be_are_refused(engine: Engine) -> None:
    model = engine._model
    cache = _native.KvCache(model)
    too_many = [1] * (model.context_length_tokens + 1)
    for segments, problem in (
        ([_native.Segment(cache, 0, [], None)], "no tokens"),
        ([_native.Segment(cache, 1, [1], None)], "follow 1 tokens"),
        ([_native.Segment(cache, 0, too_many, None)], "holds 96"),
        ([_native.Segment(cache, 0, [1], None)] * 2, "share a cache"),
        ([_native.Segment(cache, 0, [1], None, 2)], "2 logits"),
        ([_native.Segment(cache, 0, [1], None, -1)], "-1 logits"),
    ):
        with pytest.raises(UserError, match=problem):
            model.run(segments)


def test_the_meter_shows_what_was_read(engine: Engine) -> None:
    one = engine.session()
    assert one.context == (0, 96)
    reply = one.generate(random_ids(20, 0), max_new_tokens=5)
    assert one.context == (20, 96)
    for count, _ in enumerate(reply, start=1):
        assert one.context.used_tokens == 20 + count
    list(one.generate(random_ids(7, 0), max_new_tokens=1))
    assert one.context.used_tokens == 8


def test_a_turn_costs_its_own_tokens(engine: Engine) -> None:
    one, prompt = engine.session(), random_ids(20, 0)
    first = one.generate(prompt, max_new_tokens=6)
    list(first)
    assert first.usage.cached_tokens == 0
    again = one.generate([*prompt, *first.ids, 33, 44], max_new_tokens=6)
    list(again)
    # The last token was drawn, and not run.
    assert again.usage.cached_tokens == 25
    same = one.generate(prompt, max_new_tokens=6)
    assert [token.id for token in same] == first.ids
    # The last token of a prompt is run in any case.
    assert same.usage.cached_tokens == 19


def test_one_answer_at_a_time(engine: Engine) -> None:
    one = engine.session()
    reply = one.generate([30, 40])
    with pytest.raises(UserError, match="still answering"):
        one.generate([30, 40])
    reply.cancel()
    assert len(list(one.generate([30, 40], max_new_tokens=3))) == 3


def plain_with_overflow(engine: Engine, prompt: list[int], count: int, keep: int, sampling: Sampling) -> list[int]:
    """One token at a time, each in a session of its own, after the middle was dropped by hand."""
    length, answer = engine.session().context_length_tokens, list[int]()
    for _ in range(count):
        ids = prompt + answer
        while len(ids) >= length:
            ids = ids[:keep] + ids[keep + length // 2 :]
        shift = len(prompt) + len(answer) - len(ids)
        one = _native.draw(engine.session().logits_after(ids), shift + len(ids), sampling.to_native(), ids, None)
        answer.append(one.token)
    return answer


@pytest.mark.parametrize("length", [90, 96, 150])
@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(1.2, seed=3, repetition_penalty=1.3)], ids=["greedy", "drawn"]
)
def test_the_middle_is_dropped_and_reported(engine: Engine, length: int, sampling: Sampling) -> None:
    prompt = random_ids(length, 7)
    one = engine.session(sampling=sampling, on_overflow="drop_middle", keep_first_tokens=5)
    reply = one.generate(prompt, max_new_tokens=70)
    found = [token.id for token in reply]
    assert found == plain_with_overflow(engine, prompt, 70, 5, sampling)
    assert reply.finish == "length"
    assert reply.usage.prompt_tokens == length
    assert sum(reply.usage.compactions) == 48 * (1 + (length + 70 - 97) // 48)
    assert one.context.used_tokens == length + 70 - sum(reply.usage.compactions)


def test_without_a_limit_an_answer_ends_with_the_context(engine: Engine) -> None:
    reply = engine.session(on_overflow="drop_middle").generate(random_ids(90, 0))
    assert (len(list(reply)), reply.finish, reply.usage.compactions) == (6, "context", ())


def test_too_much_to_keep_is_refused(engine: Engine) -> None:
    with pytest.raises(UserError, match="first tokens to keep"):
        engine.session(on_overflow="drop_middle", keep_first_tokens=48)


def test_ends_that_cannot_be_are_refused(engine: Engine) -> None:
    one = engine.session()
    with pytest.raises(UserError, match="list of texts"):
        one.generate([30], stop="ab")
    with pytest.raises(UserError, match="0 tokens"):
        one.generate([30], max_new_tokens=0)
