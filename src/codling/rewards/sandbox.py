"""Runs Python that a model wrote, where it can do no harm, and counts the tests that it passes.

Each run has a process of its own, built up in three steps (`sandbox_launcher`, then `sandbox_harness`):

    kernel    no network (a network namespace of its own, where the kernel gives one), no new privileges; limits on
              memory, processor time, file size, open files; no second process or thread; as root, another user
    Python    an audit hook, which cannot be taken back: no sockets, processes, signals, foreign code; files are read
              from the standard library and written in a temporary directory that is removed
    here      an empty environment, a limit on wall time and on what is printed, and a kill of whatever is left

A verdict counts only with the token of its run, which the harness keeps to itself: ending early, or printing a verdict,
earns nothing. What remains possible: code that searches the harness's own frames for the token, or that returns objects
which are equal to everything, can pass tests that it should not; and where the kernel gives no network namespace, only
Python's hook stands between the code and the network. `isolation` says what held.
"""

import contextlib
import json
import os
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from codling.config import config

NOBODY = 65_534
LAUNCHER = Path(__file__).with_name("sandbox_launcher.py")
HARNESS = Path(__file__).with_name("sandbox_harness.py")
READ_SIZE_BYTES = 65_536


@config
class Limits:
    """What a run may use."""

    wall_time_s: float = 5.0
    processor_time_s: int = 3
    memory_bytes: int = 512 * 2**20
    """Of address space, the interpreter's included."""
    output_bytes: int = 65_536
    """Of what is printed."""
    file_size_bytes: int = 2**20
    num_open_files: int = 32


class Ending(StrEnum):
    """How a run ended."""

    DONE = "done"
    """Every test ran."""
    TIMED_OUT = "timed out"
    OUTPUT_TOO_LONG = "output too long"
    BROKEN = "broken"
    """The process ended before its tests did: killed for a limit, or by itself."""


class SandboxResult(NamedTuple):
    """What came of a run."""

    num_passed: int
    num_tests: int
    ending: Ending
    isolation: tuple[str, ...]
    """What stood around the code."""

    @property
    def share(self) -> float:
        """Of the tests, passed; zero unless all of them ran."""
        return self.num_passed / self.num_tests if self.ending is Ending.DONE and self.num_tests else 0.0


def run_python(code: str, tests: Sequence[str], limits: Limits) -> SandboxResult:
    """Run the code, then each test (statements that raise where they fail) on a copy of the names that it left."""
    token, is_root = secrets.token_hex(16), os.geteuid() == 0
    with tempfile.TemporaryDirectory(prefix="codling-sandbox-") as directory:
        if is_root:
            os.chown(directory, NOBODY, NOBODY)
        verdict_out, verdict_in = os.pipe()
        settings = {
            "verdict_fd": verdict_in,
            "user": NOBODY if is_root else None,
            "directory": os.path.realpath(directory),
            "processor_time_s": limits.processor_time_s,
            "memory_bytes": limits.memory_bytes,
            "file_size_bytes": limits.file_size_bytes,
            "num_open_files": limits.num_open_files,
        }
        job = {"token": token, "code": code, "tests": list(tests)}
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", str(LAUNCHER), str(HARNESS), json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={},
                pass_fds=(verdict_in,),
                start_new_session=True,
            )
        finally:
            os.close(verdict_in)
        try:
            ending, verdict = _watch(process, json.dumps(job).encode(), verdict_out, limits)
        finally:
            _kill(process)
            os.close(verdict_out)
    return _judge(verdict, token, len(tests), ending)


def _watch(process: subprocess.Popen[bytes], job: bytes, verdict_out: int, limits: Limits) -> tuple[Ending, bytes]:
    """Feed the job, read what comes, and stop at the first limit."""
    assert process.stdin is not None
    assert process.stdout is not None
    deadline_s = time.monotonic() + limits.wall_time_s
    printed_bytes, verdict, num_open = 0, b"", 2
    for pipe in (process.stdin.fileno(), process.stdout.fileno(), verdict_out):
        os.set_blocking(pipe, False)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdin, selectors.EVENT_WRITE)
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(verdict_out, selectors.EVENT_READ)
        while num_open:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return Ending.TIMED_OUT, verdict
            for key, _ in selector.select(left_s):
                if key.fileobj is process.stdin:
                    try:
                        job = job[os.write(process.stdin.fileno(), job) :]
                    except BrokenPipeError:
                        job = b""
                    if not job:
                        selector.unregister(process.stdin)
                        process.stdin.close()
                    continue
                found = os.read(key.fd, READ_SIZE_BYTES)
                if not found:
                    selector.unregister(key.fileobj)
                    num_open -= 1
                elif key.fileobj is process.stdout:
                    printed_bytes += len(found)
                else:
                    verdict += found
                if max(printed_bytes, len(verdict)) > limits.output_bytes:
                    return Ending.OUTPUT_TOO_LONG, verdict
    return Ending.DONE, verdict


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and whatever shares its session; nobody else does, as it can make no other process."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    process.wait()


def _judge(verdict: bytes, token: str, num_tests: int, ending: Ending) -> SandboxResult:
    """Read the verdict, if it is the harness's own."""
    try:
        told = json.loads(verdict)
        is_genuine = secrets.compare_digest(str(told["token"]), token)
        passed, isolation = [bool(one) for one in told["passed"]], tuple(map(str, told["isolation"]))
    except (ValueError, KeyError, TypeError):
        is_genuine = False
    if not is_genuine or len(passed) != num_tests:
        return SandboxResult(0, num_tests, Ending.BROKEN if ending is Ending.DONE else ending, ())
    return SandboxResult(sum(passed), num_tests, ending, isolation)
