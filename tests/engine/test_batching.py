"""Many sessions at once give each what it gets alone."""

import random
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

from codling.engine.engine import Engine
from codling.engine.reply import Reply, Speculate, Token
from codling.engine.sampling import Sampling


class Case(NamedTuple):
    """One request among others."""

    prompt: list[int]
    adapter: str
    sampling: Sampling
    num_tokens: int
    speculate: Speculate


def random_cases(count: int) -> list[Case]:
    chance = np.random.default_rng(0)
    samplings = (
        Sampling(),
        Sampling(0.8, seed=1),
        Sampling(1.2, top_k=30, seed=2, repetition_penalty=1.2),
        Sampling(1.0, top_p=0.8, min_p=0.02, seed=3),
    )
    return [
        Case(
            prompt=chance.integers(20, 600, chance.integers(1, 70)).tolist(),
            adapter=("recovery", "none")[place % 2],
            sampling=samplings[place % len(samplings)],
            num_tokens=int(chance.integers(1, 25)),
            speculate=("none", "lookup")[place // 2 % 2],
        )
        for place in range(count)
    ]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return random_cases(16)


@pytest.fixture(scope="module")
def alone(pair: Any, cases: list[Case]) -> list[list[int]]:
    """What each case gives in an engine of its own, a token at a time."""
    found = []
    for case in cases:
        with Engine.open(pair.device, num_threads=1) as engine:
            one = engine.session(adapter=case.adapter, sampling=case.sampling)
            found.append([token.id for token in one.generate(case.prompt, max_new_tokens=case.num_tokens)])
    return found


@pytest.fixture
def engine(pair: Any) -> Iterator[Engine]:
    with Engine.open(pair.device, num_threads=2) as opened:
        yield opened


def begin(engine: Engine, case: Case) -> Reply:
    one = engine.session(adapter=case.adapter, sampling=case.sampling)
    return one.generate(case.prompt, max_new_tokens=case.num_tokens, speculate=case.speculate)


def test_interleaved_sessions_are_as_alone(engine: Engine, cases: list[Case], alone: list[list[int]]) -> None:
    replies = [begin(engine, case) for case in cases]
    waiting = dict(enumerate(map(iter, replies)))
    chance = random.Random(1)
    while waiting:
        place = chance.choice(list(waiting))
        if next(waiting[place], None) is None:
            del waiting[place]
    assert [reply.ids for reply in replies] == alone


def test_eight_threads_are_as_alone(engine: Engine, cases: list[Case], alone: list[list[int]]) -> None:
    found: dict[int, list[int]] = {}

    def work(number: int) -> None:
        for place in range(number, len(cases), 8):
            found[place] = [token.id for token in begin(engine, cases[place])]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[place] for place in range(len(cases))] == alone


def test_cancelling_at_random_tokens_changes_nothing(engine: Engine, cases: list[Case], alone: list[list[int]]) -> None:
    chance = random.Random(2)
    lasting = {place: iter(begin(engine, case)) for place, case in enumerate(cases) if place % 3 == 0}
    found: dict[int, list[int]] = {place: [] for place in lasting}
    for place, case in enumerate(cases):
        short, end = begin(engine, case), chance.randrange(case.num_tokens)
        read: list[Token] = []
        for token in short:
            read.append(token)
            if len(read) > end:
                break
        assert [token.id for token in read] == alone[place][: end + 1]
        for other, iterator in lasting.items():
            if (token_ := next(iterator, None)) is not None:
                found[other].append(token_.id)
    for other, iterator in lasting.items():
        assert found[other] + [token.id for token in iterator] == alone[other]


def test_a_session_gives_what_a_new_one_gives(engine: Engine, cases: list[Case]) -> None:
    """Whatever its cache holds from before."""
    chance = random.Random(3)
    used = engine.session(sampling=Sampling(1.0, seed=5))
    ids: list[int] = []
    for _ in range(12):
        ids = ids[: chance.randrange(len(ids) + 1)][:60] + chance.choice(cases).prompt[:20]
        new = engine.session(sampling=Sampling(1.0, seed=5)).generate(ids, max_new_tokens=8)
        old = used.generate(ids, max_new_tokens=8)
        assert [token.id for token in old] == [token.id for token in new]
        ids += old.ids


def test_a_slow_reader_holds_nobody_up(engine: Engine) -> None:
    slow = iter(engine.session().generate([30, 40]))
    next(slow)
    fast = [token.id for token in engine.session().generate([50, 60], max_new_tokens=90)]
    assert len(fast) == 90
    assert len([1, *slow]) == 94
