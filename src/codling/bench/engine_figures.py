"""From rows of raw values to figures: medians, the fastest of the peers, and what is to be reached."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from codling.artifact.hf import WEIGHTS_FILE
from codling.artifact.model_files import load_config
from codling.bench.engine_alone import ADAPTER, BANDWIDTH, MAPPING, SESSIONS, SWAP
from codling.bench.engine_duel import FIRST_TOKEN, GENERATION, PROMPT, peer_name
from codling.bench.engine_fresh import INSTRUCTIONS, INSTRUCTIONS_SMALL, MEMORY, START
from codling.bench.engine_log import Row
from codling.bench.engine_run import EngineRun, cache_bytes_per_token
from codling.bench.engine_small import DIVERGENCE, SPEED
from codling.bench.figure import Figure, compare, within
from codling.model.count import count_parameters

GENERATION_GOALS: Final = {peer_name("Q4_0"): 2.0, peer_name("Q3_K_S"): 3.0}
FASTEST_GOALS: Final = {GENERATION: 1.8, PROMPT: 2.0}
"""Against whichever type of the peer's weights is the fastest."""
BANDWIDTH_GOAL: Final = 0.8
"""Of what can be read, while generating."""
ADAPTER_GOAL: Final = 0.9
SESSIONS_GOAL: Final = 4.0
MAX_EXTRA_BYTES: Final = 150e6
"""In memory beside the weights and the cache."""
LIMITS: Final = {START: 1.0, SWAP: 1.0, MAPPING: 1.0, DIVERGENCE: 1e-3}
"""Each in the unit of its rows."""


def engine_figures(run: EngineRun, rows: Sequence[Row]) -> list[Figure]:
    """The figures of what was measured, in the order of the rows."""
    makers: Mapping[str, Callable[[EngineRun, Row, Sequence[Row]], Figure | None]] = {
        GENERATION: _speed,
        PROMPT: _speed,
        SPEED: _speed,
        FIRST_TOKEN: _time,
        ADAPTER: _adapter,
        SESSIONS: _sessions,
        MEMORY: _memory,
        INSTRUCTIONS: _instructions,
        INSTRUCTIONS_SMALL: _instructions,
        **dict.fromkeys(LIMITS, _limited),
    }
    made = [makers[row.key.group](run, row, rows) for row in rows if row.key.group in makers]
    return [*(figure for figure in made if figure is not None), *_shares_of_bandwidth(run, rows)]


def _speed(run: EngineRun, row: Row, rows: Sequence[Row]) -> Figure | None:
    if not row.theirs:
        return None
    rivals = [other.peer_value for other in rows if other.theirs and other.key._replace(peer=row.key.peer) == row.key]
    goals = [GENERATION_GOALS.get(row.key.peer) if row.key.group == GENERATION else None]
    if row.peer_value == max(rivals):
        goals.append(FASTEST_GOALS.get(row.key.group))
    goal = max((goal for goal in goals if goal is not None), default=None)
    is_fastest = len(rivals) > 1 and row.peer_value == max(rivals)
    return compare(f"{row.key}{', its fastest' if is_fastest else ''}", row.value, row.unit, row.peer_value, goal)


def _time(run: EngineRun, row: Row, rows: Sequence[Row]) -> Figure | None:
    return within(str(row.key), row.value, row.unit, row.peer_value, goal=None) if row.theirs else None


def _adapter(run: EngineRun, row: Row, rows: Sequence[Row]) -> Figure:
    return compare(f"{row.key}, peer: without one", row.value, row.unit, row.peer_value, ADAPTER_GOAL)


def _sessions(run: EngineRun, row: Row, rows: Sequence[Row]) -> Figure:
    name = f"{run.config.num_sessions} {row.key}, an adapter each, peer: one session"
    return compare(name, row.value, row.unit, row.peer_value, SESSIONS_GOAL)


def _memory(run: EngineRun, row: Row, rows: Sequence[Row]) -> Figure:
    limit_bytes = _weights_bytes(run) + row.key.size_tokens * cache_bytes_per_token(run.shape) + MAX_EXTRA_BYTES
    return within(f"{row.key}, peer: weights, cache and 150 MB", row.value, row.unit, limit_bytes / 1e9)


def _limited(run: EngineRun, row: Row, rows: Sequence[Row]) -> Figure:
    return within(f"{row.key}, peer: the limit", row.value, row.unit, LIMITS[row.key.group])


def _instructions(run: EngineRun, row: Row, rows: Sequence[Row]) -> Figure:
    bundle = run.small if row.key.group == INSTRUCTIONS_SMALL and run.small else run.bundle
    num_weights = count_parameters(load_config(bundle)).total
    name = f"{row.key}, of a token, peer: weights of the model"
    return within(name, row.value / 1e6, "million", num_weights / 1e6, goal=None)


def _shares_of_bandwidth(run: EngineRun, rows: Sequence[Row]) -> Iterator[Figure]:
    """What generation reads each second, weights and cache, next to what can be read; over all peers' rounds."""
    limits = {row.key.num_threads: row.value for row in rows if row.key.group == BANDWIDTH}
    alone = {row.key._replace(peer="") for row in rows if row.key.group == GENERATION and row.key.num_threads in limits}
    for key in sorted(alone, key=lambda key: (-key.num_threads, key.size_tokens)):
        speeds = [speed for row in rows if row.key._replace(peer="") == key for speed in row.ours]
        read_bytes = _weights_bytes(run) + key.size_tokens * cache_bytes_per_token(run.shape)
        value = statistics.median(speeds) * read_bytes / 1e9
        yield compare(f"read during {key}, peer: the memory", value, "GB/s", limits[key.num_threads], BANDWIDTH_GOAL)


def _weights_bytes(run: EngineRun) -> int:
    return (run.bundle / WEIGHTS_FILE).stat().st_size
