"""A thousand sessions from eight threads, broken off anywhere: nothing leaks, nothing waits for ever."""

import resource
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codling.engine.engine import Engine
from codling.engine.sampling import Sampling

pytestmark = pytest.mark.slow

NUM_SESSIONS = 1000
NUM_THREADS = 8
WARM_UP_SESSIONS = 100
"""After these the memory level is taken: buffers, pages and arenas of threads are there."""
MAX_GROWTH_BYTES = 4 << 20
"""A leak of a page of the cache or a row of logits by each session would be several times this."""
DEADLOCK_S = 300.0


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def use_session(engine: Engine, number: int) -> None:
    """A conversation of three turns, each broken off at a random token: by cancelling it or by forgetting it."""
    random = np.random.default_rng(number)
    sampling = Sampling(temperature=float(number % 3), seed=number, logprobs=number % 2)
    session = engine.session(adapter=("recovery", "none")[number % 2], sampling=sampling)
    prompt = random.integers(20, 600, random.integers(1, 30)).tolist()
    for turn in range(3):
        reply = session.generate(prompt, max_new_tokens=16, speculate=("none", "lookup")[number // 2 % 2])
        for _, _ in zip(range(random.integers(0, 16)), reply, strict=False):
            pass
        prompt += [*reply.ids, 30]
        if turn == 1:
            reply.cancel()
        del reply


def use_sessions(engine: Engine, numbers: range) -> None:
    """All of them, shared out to threads; fails if one of the threads does, or does not end."""
    failures: list[BaseException] = []

    def work(mine: range) -> None:
        try:
            for number in mine:
                use_session(engine, number)
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=work, args=(numbers[index::NUM_THREADS],), daemon=True) for index in range(NUM_THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLOCK_S)
    assert not any(thread.is_alive() for thread in threads), "a session never ended"
    assert not failures


def test_sessions_come_and_go(pair: Any) -> None:
    engine = Engine.open(pair.device, num_threads=2)
    use_sessions(engine, range(WARM_UP_SESSIONS))
    level = resident_bytes()
    use_sessions(engine, range(WARM_UP_SESSIONS, NUM_SESSIONS))
    assert resident_bytes() - level < MAX_GROWTH_BYTES
