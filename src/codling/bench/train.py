"""Training throughput next to transformers on PyTorch: all sides in one run, in turn, medians.

Each side has a process of its own, because two runtimes in one process share and disturb their thread pools. Rounds
are interleaved, and each begins with another side, so that a busy moment of the machine strikes all alike.
"""

import contextlib
import importlib.util
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator

from codling.bench.figure import Figure, compare
from codling.bench.train_side import Side
from codling.errors import UserError

COMPILED_GOAL = 1.3
"""Times the throughput of the compiled peer."""

PEER_PACKAGES = ("torch", "transformers")


def run_train_bench(
    rounds: int = 5, steps_per_round: int = 6, say: Callable[[str], None] = lambda line: None
) -> list[Figure]:
    """Measure training throughput in tokens a second, ours and the peers'; `say` hears how it goes.

    Errors: `UserError` where a peer is not installed or a side breaks.
    """
    missing = [name for name in PEER_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"the peer of this measurement needs {' and '.join(missing)}: pip install codling[compare]")
    with contextlib.ExitStack() as stack:
        processes = {}
        for side in Side:
            say(f"{side}: compiling")
            processes[side] = stack.enter_context(_start(side))
        speeds: dict[Side, list[float]] = {side: [] for side in Side}
        for number in range(rounds):
            for side in _order(number):
                speeds[side].append(_run_round(side, processes[side], steps_per_round))
                say(f"{side}: round {number + 1} of {rounds}, {speeds[side][-1]:,.0f} tokens/s")
    ours, eager, compiled = (statistics.median(speeds[side]) for side in Side)
    return [
        compare("training throughput, peer: transformers on PyTorch, eager", ours, "tokens/s", eager),
        compare(
            "training throughput, peer: transformers on PyTorch, compiled", ours, "tokens/s", compiled, COMPILED_GOAL
        ),
    ]


def _order(number: int) -> list[Side]:
    first = number % len(Side)
    return [*Side][first:] + [*Side][:first]


@contextlib.contextmanager
def _start(side: Side) -> Iterator[subprocess.Popen[str]]:
    """A process that is ready; its stderr is ours."""
    with subprocess.Popen(_command(side), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            while _read_line(side, process) != "ready":
                pass  # libraries, too, write to stdout
            yield process
        finally:
            process.kill()


def _command(side: Side) -> list[str]:
    return [sys.executable, "-m", "codling.bench.train_side", side]


def _run_round(side: Side, process: subprocess.Popen[str], num_steps: int) -> float:
    """Tokens a second of one round."""
    assert process.stdin is not None
    process.stdin.write(f"{num_steps}\n")
    process.stdin.flush()
    while not (line := _read_line(side, process)).startswith("{"):
        pass
    return float(json.loads(line)["tokens_per_s"])


def _read_line(side: Side, process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise UserError(f"the side '{side}' of the bench broke with status {process.wait()}; its own words are above")
    return line.strip()
