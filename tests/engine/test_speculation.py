"""Speculation changes no token: drafts of any quality, any way to draw, alone and in company."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codling.engine import _native
from codling.engine.engine import Engine
from codling.engine.reply import Speculate
from codling.engine.sampling import Sampling
from codling.errors import UserError

SAMPLINGS = {
    "greedy": Sampling(),
    "penalized": Sampling(repetition_penalty=1.3),
    "drawn": Sampling(0.3, seed=1),
    "hot": Sampling(1.5, seed=2),
    "all": Sampling(0.4, top_k=40, top_p=0.9, min_p=0.01, repetition_penalty=1.1, seed=3, logprobs=2),
}


def proposed(tokens: list[int], count: int) -> list[int]:
    """The longest match, the latest of equals; no match is longer than 16 or shorter than 2."""
    best, found = 1, list[int]()
    for end in range(len(tokens) - 1, 0, -1):
        length = 0
        while length < min(16, end) and tokens[end - 1 - length] == tokens[-1 - length]:
            length += 1
        if length > best:
            best, found = length, tokens[end : end + count]
    return found


def test_look_up_finds_the_longest_match() -> None:
    assert _native.look_up([1, 2, 3, 9, 1, 2, 4, 9, 1, 2], 3) == [4, 9, 1]
    assert _native.look_up([7, 1, 2, 3, 9, 1, 2, 4, 7, 1, 2], 2) == [3, 9]
    assert _native.look_up([1, 2, 3, 1], 3) == []
    assert _native.look_up([5], 3) == _native.look_up([], 3) == []
    chance = np.random.default_rng(0)
    for _ in range(300):
        tokens = chance.integers(0, 3, chance.integers(1, 60)).tolist()
        assert _native.look_up(tokens, 4) == proposed(tokens, 4)


@pytest.fixture(scope="module", params=["itself", "another"])
def engine(request: pytest.FixtureRequest, pair: Any) -> Iterator[Engine]:
    draft: Path = pair.device if request.param == "itself" else pair.server
    with Engine.open(pair.device, num_threads=1, draft=draft) as opened:
        yield opened


def answer(engine: Engine, speculate: Speculate, sampling: Sampling, prompt: list[int], **how: Any) -> list[Any]:
    reply = engine.session(sampling=sampling).generate(prompt, speculate=speculate, **how)
    tokens = list(reply)
    usage = reply.usage
    assert 0 <= usage.accepted_tokens <= usage.proposed_tokens
    assert (usage.proposed_tokens == 0) or speculate != "none"
    return [tokens, reply.text, reply.finish]


def repeating(seed: int) -> list[int]:
    """A prompt that says things twice, for look-up to find."""
    part = np.random.default_rng(seed).integers(20, 600, 7).tolist()
    return [*part, 25, *part, 26, *part[:3]]


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=list(SAMPLINGS))
@pytest.mark.parametrize("speculate", ["lookup", "draft"])
def test_speculation_changes_no_token(engine: Engine, speculate: Speculate, sampling: Sampling) -> None:
    for seed in range(3):
        how = {"max_new_tokens": 30 + seed}
        expected = answer(engine, "none", sampling, repeating(seed), **how)
        assert answer(engine, speculate, sampling, repeating(seed), **how) == expected


@pytest.mark.parametrize("speculate", ["lookup", "draft"])
def test_not_with_masks_and_stops_in_between_either(engine: Engine, speculate: Speculate) -> None:
    calls: dict[str, list[list[int]]] = {}

    def mask_noting(name: str) -> Any:
        calls[name] = []

        def mask(ids: np.ndarray) -> np.ndarray | None:
            calls[name].append(ids.tolist())
            return np.arange(600) % 7 != len(ids) % 7 if len(ids) % 4 else None

        return mask

    sampling = SAMPLINGS["all"]
    free = answer(engine, "none", sampling, repeating(0), max_new_tokens=40)
    stops: tuple[dict[str, Any], ...] = (
        {},
        {"stop": (free[1][8:11],)},
        {"stop_ids": [free[0][11].id]},
    )
    for stop in stops:
        expected, found = (
            answer(engine, way, sampling, repeating(0), max_new_tokens=40, mask=mask_noting(way), **stop)
            for way in ("none", speculate)
        )
        assert found == expected
        if "stop" not in stop:
            # Called once a token, in order: a mask may keep a state.
            assert calls["none"] == calls[speculate]


def test_not_in_company_either(engine: Engine) -> None:
    ways: list[tuple[Speculate, Sampling, int]] = [
        (way, sampling, seed)
        for seed, sampling in enumerate(SAMPLINGS.values())
        for way in ("none", "lookup", "draft")
    ]  # fmt: skip
    expected = [answer(engine, "none", sampling, repeating(seed), max_new_tokens=25)[0] for _, sampling, seed in ways]
    replies = [
        engine.session(sampling=sampling).generate(repeating(seed), max_new_tokens=25, speculate=way)
        for way, sampling, seed in ways
    ]
    iterators = list(map(iter, replies))
    found = [[next(iterator)] for iterator in iterators]
    for place in np.random.default_rng(0).permutation(len(replies)):
        found[place] += iterators[place]
    assert found == expected


@pytest.mark.parametrize("speculate", ["lookup", "draft"])
def test_not_at_the_end_of_the_context_either(engine: Engine, speculate: Speculate) -> None:
    prompt = repeating(1) * 5
    expected = answer(engine, "none", Sampling(), prompt[:88])
    assert answer(engine, speculate, Sampling(), prompt[:88]) == expected
    assert expected[2] == "context"


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=list(SAMPLINGS))
def test_a_draft_that_is_the_model_is_always_right(pair: Any, sampling: Sampling) -> None:
    """With the same noise also where tokens are drawn, and with the same penalties."""
    with Engine.open(pair.device, num_threads=1, draft=pair.device) as engine:
        reply = engine.session(sampling=sampling).generate(repeating(0), max_new_tokens=40, speculate="draft")
        list(reply)
        assert reply.usage.accepted_tokens == reply.usage.proposed_tokens > 30


def test_look_up_finds_what_is_said_again(pair: Any) -> None:
    with Engine.open(pair.device, num_threads=1) as engine:
        reply = engine.session().generate([30] * 40, max_new_tokens=50, speculate="lookup")
        list(reply)
        assert reply.usage.proposed_tokens > 0


def test_a_draft_that_is_not_there_is_refused(pair: Any) -> None:
    with Engine.open(pair.device, num_threads=1) as engine, pytest.raises(UserError, match="no draft model"):
        engine.session().generate([30], speculate="draft")


def test_a_draft_of_another_tokenizer_is_refused(pair: Any, foreign: Any) -> None:
    with pytest.raises(UserError, match="another tokenizer"):
        Engine.open(pair.device, draft=foreign.bundle)
