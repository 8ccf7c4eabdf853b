"""Runs Python that nobody has read, and tells what some calls of it give.

The code runs in a process of its own without network, files of ours, environment, or the means to start others, under
limits on time, memory, output and the rest (`SandboxConfig`). When the run is over, nothing of it is left.

What may stand between the code and the machine, best first; `Isolation` says what did:
- namespaces: other processes, the network and the files do not exist for the code; they vanish with it;
- an empty root and a user id of its own (where the caller is root), and a filter of system calls (`syscall_filter`).
Where the kernel grants neither the first nor all of the second, the run is refused, unless `allow_weak`.

What stays possible: the code may use its time and memory to the full, may learn which calls are made of it (not
which values are due: those never enter the sandbox), and may attack the kernel itself.

Price: about 50 ms a run, most of it the start of two processes.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from codling.config import config
from codling.errors import UserError
from codling.rewards.plain_values import decode_value

START = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from codling.rewards.sandbox_child import main;"
    " del sys.path[0]; main()"
)
SETUP_TIME_S = 30.0
"""How long the sandbox may take to shut itself in; ours, generous for a machine under load."""
GRACE_TIME_S = 10.0
"""How long it may take to end everything once its lifeline is closed."""


@config
class SandboxConfig:
    """What a run may use. The defaults are ours: for functions of a few lines."""

    wall_time_s: float = 5.0
    """Time until the run is ended, from when the code starts."""
    cpu_time_s: int = 3
    """Processor time, in whole seconds."""
    memory_bytes: int = 512 * 2**20
    """Address space of the process; Python itself takes some 30 MB of it."""
    written_bytes: int = 8 * 2**20
    """Size of a written file; with namespaces of all files together."""
    output_bytes: int = 64 * 2**10
    """What the code may print, and what its calls may give, together."""
    processes: int = 16
    """Processes and threads at a time; with the filter of system calls threads only."""
    open_files: int = 64
    """Files open at a time."""
    namespaces: bool = True
    """Whether to use namespaces where the kernel grants them."""
    filter: bool = True
    """Whether to use the filter of system calls where the kernel grants it."""
    allow_weak: bool = False
    """Whether to run even where the kernel grants too little to keep the code away from the user's own files."""

    def __post_init__(self) -> None:
        sizes = (self.cpu_time_s, self.memory_bytes, self.written_bytes, self.output_bytes, self.processes)
        if min(*sizes, self.open_files) < 1 or not 0 < self.wall_time_s < float("inf"):
            raise ValueError("every limit of a sandbox must be above 0 and finite")


class Ended(StrEnum):
    """How a run ended."""

    FINISHED = "finished"
    ERROR = "error"
    """The code raised, left early, or is no Python."""
    TIME = "timed out"
    MEMORY = "out of memory"
    OUTPUT = "output too long"
    KILLED = "killed"
    """By a signal: a crash of the interpreter, for one."""


class Isolation(NamedTuple):
    """What stood between the code and the machine."""

    namespaces: bool
    own_root: bool
    own_uid: bool
    filter: bool


class CallResult(NamedTuple):
    """What a call gave: a value, or the name of what it raised (its value may also have been none that can be told)."""

    value: Any = None
    failure: str | None = None


class SandboxResult(NamedTuple):
    """A finished run. `calls` is shorter than what was asked for if the run ended before them all."""

    ended: Ended
    calls: tuple[CallResult, ...]
    stopped_by: str | None
    """The name of what the code raised, where that put an end to it."""
    output: str
    isolation: Isolation


class _Streams(NamedTuple):
    """All that came out of a run, and why reading it stopped, if not at its end."""

    output: bytearray
    values: bytearray
    report: bytearray
    stopped: Ended | None


def run_calls(code: str, calls: Sequence[str], config: SandboxConfig) -> SandboxResult:
    """Run `code`, then evaluate each of `calls` (Python expressions) in what it defined.

    Errors: `UserError` where this machine cannot isolate the code; whatever the code does is a result, no error.
    """
    report: dict[str, Any] = {}
    for namespaces in (True, False) if config.namespaces else (False,):
        streams = _run(_job(code, calls, config, namespaces=namespaces), config)
        report = _read_report(streams.report)
        if not (namespaces and "setup_failed" in report):
            break
    if "refused" in report:
        raise UserError(
            f"sandbox: this machine grants too little to run unknown code safely ({_listed(report['refused'])}); allow"
            " user namespaces, run as root in a container of its own, or set allow_weak"
        )
    if "ready" not in report:
        why = report.get("setup_failed") or streams.output.decode(errors="replace").strip() or "no sign of it in time"
        raise UserError(f"sandbox: could not be set up: {why.splitlines()[-1]}")
    results, stopped_by = _read_values(bytes(streams.values), len(calls))
    raised = {stopped_by, *(result.failure for result in results)}
    ended = streams.stopped or _how_it_ended(report.get("end"), raised, config)
    if ended == Ended.FINISHED and (stopped_by or len(results) < len(calls)):
        ended = Ended.ERROR
    output = streams.output.decode(errors="replace")
    return SandboxResult(ended, results, stopped_by, output, Isolation(**report["ready"]))


def _job(code: str, calls: Sequence[str], config: SandboxConfig, *, namespaces: bool) -> dict[str, Any]:
    names = ("cpu_time_s", "memory_bytes", "written_bytes", "processes", "open_files", "filter", "allow_weak")
    limits = {name: getattr(config, name) for name in names}
    return {"code": code, "calls": list(calls), "namespaces": namespaces, **limits}


def _run(job: dict[str, Any], config: SandboxConfig) -> _Streams:
    """Start the sandbox, read what comes out of it, and see it ended."""
    (values, values_in), (report, report_in) = os.pipe(), os.pipe()
    source = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", START, source, str(values_in), str(report_in)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env={},
        pass_fds=(values_in, report_in),
        start_new_session=True,
    )
    os.close(values_in)
    os.close(report_in)
    assert process.stdin
    assert process.stdout
    try:
        # Where it is gone already its report, or the lack of it, says why.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()
        return _collect({"output": process.stdout.fileno(), "values": values, "report": report}, config)
    finally:
        # The lifeline: at its end the sandbox ends all that it holds, then itself.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(GRACE_TIME_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        os.close(values)
        os.close(report)


def _collect(pipes: dict[str, int], config: SandboxConfig) -> _Streams:
    """Read until the report says that it is over, a limit is reached, or every pipe is closed."""
    held = {name: bytearray() for name in pipes}
    stopped, ready = None, False
    deadline = time.monotonic() + SETUP_TIME_S
    with selectors.DefaultSelector() as selector:
        for name, pipe in pipes.items():
            os.set_blocking(pipe, False)
            selector.register(pipe, selectors.EVENT_READ, name)
        while selector.get_map() and stopped is None:
            # The end is seen before this reading: what was written before it is then in the pipes.
            over = b'"end"' in held["report"]
            events = selector.select(0 if over else max(0.0, deadline - time.monotonic()))
            if over and not events:
                break
            for key, _ in events:
                if part := os.read(key.fd, 1 << 16):
                    held[key.data] += part
                else:
                    selector.unregister(key.fd)
            if not ready and b'"ready"' in held["report"]:
                ready, deadline = True, time.monotonic() + config.wall_time_s
            if len(held["output"]) + len(held["values"]) > config.output_bytes:
                stopped = Ended.OUTPUT
            elif time.monotonic() >= deadline:
                stopped = Ended.TIME
    return _Streams(held["output"][: config.output_bytes], held["values"], held["report"], stopped)


def _read_report(data: bytearray) -> dict[str, Any]:
    report: dict[str, Any] = {}
    for line in data.decode().splitlines():
        report |= json.loads(line)
    return report


def _read_values(data: bytes, num_calls: int) -> tuple[tuple[CallResult, ...], str | None]:
    """Read what the tested process wrote, believing nothing: what is no value counts as a failure."""
    results: list[CallResult] = []
    for line in data.split(b"\n")[:-1][: num_calls + 1]:
        try:
            read = json.loads(line)
            if "stopped" in read:
                return tuple(results[:num_calls]), str(read["stopped"])
            failure = read.get("failure")
            results.append(CallResult(failure=str(failure)) if failure else CallResult(decode_value(read["value"])))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            results.append(CallResult(failure="no plain value"))
    return tuple(results[:num_calls]), None


def _how_it_ended(end: dict[str, Any] | None, raised: set[str | None], config: SandboxConfig) -> Ended:
    if end is None:
        return Ended.KILLED
    if end["signal"] == signal.SIGXCPU or end["cpu_time_s"] >= config.cpu_time_s:
        return Ended.TIME
    if "MemoryError" in raised:
        return Ended.MEMORY
    if end["signal"]:
        return Ended.KILLED
    return Ended.FINISHED


def _listed(isolation: dict[str, bool]) -> str:
    return ", ".join(f"{name}: {'yes' if held else 'no'}" for name, held in isolation.items())
