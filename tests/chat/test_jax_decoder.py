"""The decoder against `generate`, with and without what its cache remembers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.chat import jax_decoder
from codling.chat.jax_decoder import JaxDecoder
from codling.errors import UserError
from codling.model.generate import Sampling, generate
from codling.model.transformer import Transformer

GREEDY, DRAWN = Sampling(), Sampling(temperature=0.9, top_p=0.8)


def random_ids(count: int, seed: int) -> list[int]:
    ids: list[int] = np.random.default_rng(seed).integers(20, 600, count).tolist()
    return ids


def generated(model: Transformer, prompt: list[int], max_new_tokens: int, sampling: Sampling, seed: int) -> list[int]:
    tokens = jnp.asarray(prompt, jnp.int32)[None]
    lengths, key = jnp.asarray([len(prompt)], jnp.int32), jax.random.key(seed)
    result = generate(model, tokens, lengths, key, max_new_tokens=max_new_tokens, stop_ids=(10,), sampling=sampling)
    ids: list[int] = np.asarray(result.tokens[0, : int(result.lengths_tokens[0])]).tolist()
    return ids


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN], ids=["greedy", "drawn"])
@pytest.mark.parametrize("seed", [0, 5])
def test_it_draws_the_tokens_of_generate(pair: Any, sampling: Sampling, seed: int) -> None:
    prompt = random_ids(9, seed)
    drawn = list(JaxDecoder(pair.model, sampling, seed).run(prompt, 12, (10,)))
    assert drawn == generated(pair.model, prompt, 12, sampling, seed)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 90])
def test_padding_a_prompt_changes_nothing_up_to_the_end_of_the_context(pair: Any, length: int) -> None:
    prompt = random_ids(length, 1)
    assert list(JaxDecoder(pair.model, GREEDY, 0).run(prompt, 6, (10,))) == generated(pair.model, prompt, 6, GREEDY, 0)


def test_a_prompt_longer_than_the_longest_chunk_is_run_in_pieces(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(JaxDecoder(pair.model, GREEDY, 0).run(random_ids(50, 2), 5, ()))
    monkeypatch.setattr(jax_decoder, "CHUNK_LENGTHS_TOKENS", (1, 8))
    assert list(JaxDecoder(pair.model, GREEDY, 0).run(random_ids(50, 2), 5, ())) == whole


@pytest.mark.parametrize("num_kept", [0, 4, 20], ids=["other prompt", "shared beginning", "same prompt"])
def test_what_the_cache_remembers_changes_no_token(pair: Any, num_kept: int) -> None:
    first, other = random_ids(20, 3), random_ids(20, 4)
    prompt = first[:num_kept] + other[num_kept:]
    used = JaxDecoder(pair.model, GREEDY, 0)
    list(used.run(first, 8, ()))
    assert list(used.run(prompt, 8, ())) == list(JaxDecoder(pair.model, GREEDY, 0).run(prompt, 8, ()))


def test_only_what_is_new_is_run(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = JaxDecoder(pair.model, GREEDY, 0)
    first = random_ids(30, 5)
    answer = list(decoder.run(first, 4, ()))
    pieces: list[int] = []
    run_chunk = decoder._run_chunk

    def counting(cache: Any, start: int, chunk: Any) -> Any:
        pieces.append(len(chunk))
        return run_chunk(cache, start, chunk)

    monkeypatch.setattr(decoder, "_run_chunk", counting)
    list(decoder.run([*first, *answer, *random_ids(7, 6)], 3, ()))
    # The last token of the answer was drawn but never run.
    assert pieces == [8, 1, 1]


def test_an_interrupted_step_leaves_a_decoder_that_works(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = JaxDecoder(pair.model, GREEDY, 0)
    expected = list(decoder.run(random_ids(12, 7), 5, ()))

    def interrupted(cache: Any, start: int, chunk: Any) -> Any:
        jax.tree.map(lambda leaf: leaf.delete(), cache)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(decoder, "_run_chunk", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(decoder.run(random_ids(12, 8), 5, ()))
    assert list(decoder.run(random_ids(12, 7), 5, ())) == expected


def test_it_stops_after_a_stop_token(pair: Any) -> None:
    free = list(JaxDecoder(pair.model, GREEDY, 0).run(random_ids(9, 0), 12, ()))
    first_place = free.index(free[5])
    assert list(JaxDecoder(pair.model, GREEDY, 0).run(random_ids(9, 0), 12, (free[5],))) == free[: first_place + 1]


def test_it_ends_with_the_context(pair: Any) -> None:
    context = pair.model.config.context_length_tokens
    decoder = JaxDecoder(pair.model, GREEDY, 0)
    assert len(list(decoder.run(random_ids(context - 3, 0), 12, ()))) == 3
    assert len(list(decoder.run(random_ids(context - 1, 0), 12, ()))) == 1


@pytest.mark.parametrize("surplus", [0, 1, 50])
def test_a_prompt_that_fills_the_context_is_refused_before_anything_runs(pair: Any, surplus: int) -> None:
    context = pair.model.config.context_length_tokens
    decoder = JaxDecoder(pair.model, GREEDY, 0)
    with pytest.raises(UserError, match=f"{context + surplus} tokens.* holds {context}"):
        next(decoder.run(random_ids(context + surplus, 0), 1, ()))
    assert decoder._cache is None


def test_an_empty_prompt_is_refused(pair: Any) -> None:
    with pytest.raises(UserError, match="empty"):
        next(JaxDecoder(pair.model, GREEDY, 0).run([], 1, ()))
