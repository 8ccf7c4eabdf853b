"""What the engine is measured against by itself: the memory it reads, no adapter, one session, a limit."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np

from codling.artifact.bundle import adapter_names
from codling.bench.engine_log import Key, in_turn, seconds
from codling.bench.engine_ours import OurSide
from codling.bench.engine_run import EngineRun
from codling.engine import _native
from codling.engine.engine import Engine

BANDWIDTH: Final = "bandwidth"
ADAPTER: Final = "adapter"
SESSIONS: Final = "sessions"
MAPPING: Final = "adapter-mapping"
SWAP: Final = "adapter-swap"
ALONE: Final = (BANDWIDTH, ADAPTER, SESSIONS, MAPPING, SWAP)
NUM_PASSES: Final = 4
"""Over the buffer, in one round: a thread that starts late costs nothing then."""


def measure_alone(run: EngineRun, groups: Sequence[str]) -> None:
    """Measure these groups with every number of threads."""
    measures: dict[str, tuple[str, Callable[[EngineRun, int], list[tuple[float, ...]]]]] = {
        BANDWIDTH: ("GB/s", _bandwidth),
        ADAPTER: ("tokens/s", _adapter),
        SESSIONS: ("tokens/s", _sessions),
        MAPPING: ("ms", _mapping),
        SWAP: ("ms", _swap),
    }
    for num_threads in run.config.threads:
        for group in ALONE:
            if group in groups:
                unit, measure = measures[group]
                run.log.measure(Key(group, num_threads), unit, partial(measure, run, num_threads))


def _bandwidth(run: EngineRun, num_threads: int) -> list[tuple[float, ...]]:
    """The sum of a large buffer, in large pages where the system has them."""
    buffer = np.ones(run.config.memory_buffer_bytes // 8, np.uint64)

    def read() -> float:
        duration_s = seconds(lambda: _native.sum_memory(buffer, num_threads, NUM_PASSES))
        return NUM_PASSES * buffer.nbytes / duration_s / 1e9

    read()
    return in_turn(run.config.num_rounds, read)


def _adapter(run: EngineRun, num_threads: int) -> list[tuple[float, ...]]:
    """Generation with an adapter, and without."""
    side, (name, *_) = OurSide(run.bundle, num_threads), adapter_names(run.bundle)
    num_tokens = run.config.num_generated_tokens

    def speed(adapter: str) -> Callable[[], float]:
        side.generate_together([adapter], 1)
        return lambda: num_tokens / seconds(lambda: side.generate_together([adapter], num_tokens))

    return in_turn(run.config.num_rounds, speed(name), speed("none"))


def _sessions(run: EngineRun, num_threads: int) -> list[tuple[float, ...]]:
    """All tokens of sessions with an adapter each, and those of one session with an adapter."""
    side, names = OurSide(run.bundle, num_threads), adapter_names(run.bundle)[: run.config.num_sessions]
    num_tokens = run.config.num_generated_tokens

    def speed(adapters: Sequence[str]) -> Callable[[], float]:
        side.generate_together(adapters, 1)
        return lambda: len(adapters) * num_tokens / seconds(lambda: side.generate_together(adapters, num_tokens))

    return in_turn(run.config.num_rounds, speed(names), speed(names[:1]))


def _mapping(run: EngineRun, num_threads: int) -> list[tuple[float, ...]]:
    """An adapter that was never used: from its name to a session that can run."""
    names = adapter_names(run.bundle)

    def begin(number: int) -> float:
        engine = Engine.open(run.bundle, num_threads=num_threads)
        return 1e3 * seconds(partial(engine.session, adapter=names[number % len(names)]))

    return [tuple(begin(number) for number in range(run.config.num_rounds))]


def _swap(run: EngineRun, num_threads: int) -> list[tuple[float, ...]]:
    """An adapter that is mapped: from its name to a session that can run, after one with another adapter."""
    engine, names = Engine.open(run.bundle, num_threads=num_threads), adapter_names(run.bundle)
    for name in names:
        engine.session(adapter=name)

    def begin(number: int) -> float:
        return 1e3 * seconds(partial(engine.session, adapter=names[number % len(names)]))

    return [tuple(begin(number) for number in range(run.config.num_rounds))]
