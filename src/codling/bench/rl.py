"""Throughput of online training next to TRL's RLOO trainer: both sides in one run, in turn, medians.

A process each, and interleaved rounds, as in `bench.train`. What is counted are tokens of answers that were sampled,
scored and learned from: both sides draw as many answers as long, and make as many updates (`rl_side`).
"""

import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from codling.bench.figure import Figure, compare
from codling.bench.rl_side import Side, write_model
from codling.errors import UserError

GOAL = 5.0
"""Times the peer's throughput, of whole iterations; their parts are shown for comparison."""
PARTS = ("iteration", "sampling", "scoring", "updates")
PEER_PACKAGES = ("torch", "transformers", "trl")
PATIENT_THREADS = {"GOMP_SPINCOUNT": "1000"}
"""PyTorch's threads wait for each other by spinning, which on a machine that does other work, too, costs it several
times its speed. Shortened, it costs nothing on an idle one."""

Ask = Callable[[int], dict[str, float]]
"""(iterations to do) -> tokens of answers a second, by part."""


def run_rl_bench(
    rounds: int = 5, iterations_per_round: int = 1, say: Callable[[str], None] = lambda line: None
) -> list[Figure]:
    """Measure iterations of online training in tokens of answers a second; `say` hears how it goes.

    Errors: `UserError` where the peer is not installed or a side breaks.
    """
    missing = [name for name in PEER_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"the peer of this measurement needs {' and '.join(missing)}: pip install codling[compare]")
    speeds: dict[Side, list[dict[str, float]]] = {side: [] for side in Side}
    with _sides(say) as sides:
        for number in range(rounds):
            # Each round begins with the other side, so that a busy moment of the machine strikes both alike.
            for side in list(Side)[:: 1 if number % 2 == 0 else -1]:
                speeds[side].append(sides[side](iterations_per_round))
                shown = ", ".join(f"{part} {speeds[side][-1][part]:,.0f}" for part in PARTS)
                say(f"{side}: round {number + 1} of {rounds}, tokens of answers a second: {shown}")
    figures = []
    for part in PARTS:
        ours, theirs = (statistics.median(found[part] for found in speeds[side]) for side in (Side.OURS, Side.TRL))
        name = f"online training, {'whole iterations' if part == 'iteration' else part}, peer: RLOO of TRL"
        figures.append(compare(name, ours, "answer tokens/s", theirs, GOAL if part == "iteration" else None))
    return figures


@contextlib.contextmanager
def _sides(say: Callable[[str], None]) -> Iterator[dict[Side, Ask]]:
    """All sides, warm, with the same weights."""
    with contextlib.ExitStack() as stack:
        model_path = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_model(model_path)
        sides = {}
        for side in Side:
            say(f"{side}: compiling and warming up")
            sides[side] = stack.enter_context(_side(side, model_path))
        yield sides


@contextlib.contextmanager
def _side(side: Side, model_path: Path) -> Iterator[Ask]:
    """One side in a process of its own; its stderr is ours."""
    command, environment = _command(side, model_path), os.environ | PATIENT_THREADS
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:

        def wait_for(beginning: str) -> str:
            """The next line that begins so: libraries, too, write to stdout."""
            for line in process.stdout or ():
                if line.startswith(beginning):
                    return line
            status = process.wait()
            raise UserError(f"the side '{side}' of the bench broke with status {status}; its own words are above")

        def ask(num_iterations: int) -> dict[str, float]:
            print(num_iterations, file=process.stdin, flush=True)
            found: dict[str, float] = json.loads(wait_for('{"iteration"'))
            return found

        try:
            wait_for("ready")
            yield ask
        finally:
            process.kill()


def _command(side: Side, model_path: Path) -> list[str]:
    return [sys.executable, "-m", "codling.bench.rl_side", side, str(model_path)]
