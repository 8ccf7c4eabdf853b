"""What is measured in a fresh process: memory, the start, and how many instructions a token takes.

Instructions are counted by valgrind, as the difference between two runs of which one generates more, on one thread:
what starting takes falls out, and the machine's load changes nothing. Valgrind knows no AVX-512, so what it counts are
the AVX2 kernels.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from codling.bench.engine_log import Key
from codling.bench.engine_run import EngineRun
from codling.errors import UserError

MEMORY: Final = "memory"
START: Final = "start"
INSTRUCTIONS: Final = "instructions"
INSTRUCTIONS_SMALL: Final = "small-instructions"
FRESH: Final = (MEMORY, START, INSTRUCTIONS, INSTRUCTIONS_SMALL)
MEMORY_CONTEXT_TOKENS: Final = 4096
MAX_MEMORY_CONTEXT_SHARE: Final = 2
"""Of a model of shorter context, this part of it is filled."""
COUNTED_TOKENS: Final = {INSTRUCTIONS: 1, INSTRUCTIONS_SMALL: 32}
"""Generated in the first run; the second generates twice as many."""
PROGRAM: Final = (sys.executable, "-m", "codling.bench.engine_process")
COLLECTED: Final = re.compile(r"Collected\s*:\s*(\d+)")
VALGRIND: Final = "valgrind"
LARGE_PAGES: Final = "GLIBC_TUNABLES"
"""Set by the command line for itself; a user's program has none."""


def measure_fresh(run: EngineRun, groups: Sequence[str]) -> None:
    """Measure these groups. Errors: `UserError` where valgrind is missing, or a process breaks."""
    length = min(MEMORY_CONTEXT_TOKENS, run.shape.context_length_tokens // MAX_MEMORY_CONTEXT_SHARE)
    for num_threads in run.config.threads:
        if MEMORY in groups:
            run.log.measure(Key(MEMORY, num_threads, length), "GB", partial(_peaks_gb, run, num_threads, length))
        if START in groups:
            run.log.measure(Key(START, num_threads), "s", partial(_starts_s, run, num_threads))
    for group, bundle in ((INSTRUCTIONS, run.bundle), (INSTRUCTIONS_SMALL, run.small)):
        if group in groups and bundle is not None:
            run.log.measure(Key(group, 1), "instructions", partial(_instructions, bundle, COUNTED_TOKENS[group]))


def _peaks_gb(run: EngineRun, num_threads: int, context_tokens: int) -> list[tuple[float, ...]]:
    # Twice: it hardly changes, and a long prompt takes its time.
    return [tuple(_probe(run.bundle, num_threads, context_tokens)["peak_bytes"] / 1e9 for _ in range(2))]


def _starts_s(run: EngineRun, num_threads: int) -> list[tuple[float, ...]]:
    return [tuple(_probe(run.bundle, num_threads, 0)["open_s"] for _ in range(run.config.num_rounds))]


def _probe(bundle: Path, num_threads: int, context_tokens: int) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(_run([], bundle, num_threads, context_tokens, 1).stdout)
    return values


def _instructions(bundle: Path, num_tokens: int) -> list[tuple[float, ...]]:
    """Of one token."""
    if shutil.which(VALGRIND) is None:
        raise UserError(f"counting instructions needs {VALGRIND}: apt install {VALGRIND}, or leave it out of --only")
    once, twice = (_count(bundle, times * num_tokens) for times in (1, 2))
    return [((twice - once) / num_tokens,)]


def _count(bundle: Path, num_tokens: int) -> int:
    done = _run([VALGRIND, "--tool=callgrind", "--callgrind-out-file=/dev/null"], bundle, 1, 0, num_tokens)
    found = COLLECTED.search(done.stderr)
    if found is None:
        raise UserError(f"{VALGRIND} did not say how many instructions it counted: {done.stderr.strip()[-200:]}")
    return int(found[1])


def _run(tool: Sequence[str], bundle: Path, *numbers: int) -> subprocess.CompletedProcess[str]:
    program = [*PROGRAM, str(bundle), *map(str, numbers)]
    # The same hashes in both of the runs that are compared.
    environment = {name: value for name, value in os.environ.items() if name != LARGE_PAGES} | {"PYTHONHASHSEED": "0"}
    done = subprocess.run([*tool, *program], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        (*_, last) = ["", *done.stderr.strip().splitlines()]
        raise UserError(f"a process of the bench broke with status {done.returncode}: {last}")
    return done
