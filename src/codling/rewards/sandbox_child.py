"""The program that `sandbox` starts: it shuts itself in, runs the tested code in a child, watches it, and leaves.

    sandbox (the caller)  --stdin: job, then held open-->  supervisor  -->  [first of the namespaces]  -->  tested code
                          <--stdout: what the code prints; values: what the calls gave; report: how it went-----------

The supervisor is trusted; it and the tested code are separate processes, and only the supervisor holds the report
pipe once the code runs. The caller's end of stdin is the lifeline: when it closes, even because the caller was
killed, everything here ends. Standard library only: this file runs without site-packages.
"""

import contextlib
import ctypes
import importlib
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from typing import Any, NoReturn

from codling.rewards import kernel
from codling.rewards.namespaces import NOBODY, enter_namespaces, enter_new_root
from codling.rewards.plain_values import encode_value
from codling.rewards.syscall_filter import install_filter

OWN_UID_BASE = 1879048192
"""Root gives the tested code a user of its own: this plus a process id, a range that nobody uses.
Source: https://systemd.io/UIDS-GIDS (1879048192 to 2147352575 is unused)."""
POLL_INTERVAL_S = 0.01
PRELOADED = (
    "abc array bisect calendar cmath collections.abc copy dataclasses datetime decimal enum fractions functools heapq"
    " io itertools math numbers operator queue random re statistics string textwrap threading typing unicodedata"
)
"""Modules loaded before the code moves into an empty root; there it can load no others."""


def main() -> NoReturn:
    """Read the job from stdin and do it; the numbers of the pipes for values and report are in `sys.argv`."""
    values, report = (int(number) for number in sys.argv[-2:])
    isolation = {"namespaces": False, "own_root": False, "own_uid": False, "filter": False}
    job = json.loads(_read_line(0))
    # Known before the namespaces, in which process ids begin again at 1.
    own_uid = OWN_UID_BASE + os.getpid()
    root = ""
    try:
        if job["namespaces"]:
            enter_namespaces()
            isolation["namespaces"] = True
            if first := os.fork():
                os.waitpid(first, 0)
                os._exit(0)
            enter_new_root(job["written_bytes"])
            isolation["own_root"] = True
        else:
            root = tempfile.mkdtemp(prefix="codling-sandbox-")
            with contextlib.suppress(OSError):
                kernel.set_process_option(kernel.PR_SET_CHILD_SUBREAPER, 1)
        with contextlib.suppress(OSError):
            # Nobody may look into the supervisor, not even a process of the same user.
            kernel.set_process_option(kernel.PR_SET_DUMPABLE, 0)
    except OSError as error:
        _say(report, {"setup_failed": str(error)})
        os._exit(1)
    # As the first process of its namespace it gets no signal that it has no handler for; Python has one for SIGINT.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    tested = os.fork()
    if tested == 0:
        with contextlib.suppress(BaseException):
            _run_tested(job, isolation, root, own_uid, values, report)
        os._exit(1)
    end = _watch(tested)
    if root:
        _end_descendants(tested)
        _remove_tree(root)
    # The caller may be gone.
    with contextlib.suppress(OSError):
        _say(report, {"end": end})
    os._exit(0)


def _run_tested(
    job: dict[str, Any], isolation: dict[str, bool], root: str, own_uid: int, values: int, report: int
) -> None:
    """Shut this process in, say how well that went, and run the code if it went well enough."""
    try:
        os.setpgid(0, 0)
        # An empty pipe whose other end is closed below: reading it finds the end at once.
        os.dup2(os.pipe()[0], 0)
        os.dup2(1, 2)
        _set_limits(job)
        if root:
            isolation["own_root"] = _enter_empty_root(root)
        isolation["own_uid"] = _leave_root(own_uid)
        if isolation["namespaces"] and not isolation["own_uid"]:
            kernel.set_process_option(kernel.PR_SET_NO_NEW_PRIVS, 1)
            kernel.drop_capabilities()
        if job["filter"]:
            with contextlib.suppress(OSError):
                install_filter(os.getpid())
                isolation["filter"] = _filter_holds()
        sound = isolation["namespaces"] or all(isolation[part] for part in ("own_root", "own_uid", "filter"))
        run = sound or job["allow_weak"]
        _say(report, {"ready" if run else "refused": isolation})
    except BaseException as error:
        _say(report, {"setup_failed": repr(error)})
        return
    if run:
        os.dup2(values, 3)
        os.closerange(4, resource.getrlimit(resource.RLIMIT_NOFILE)[0] + max(values, report) + 1)
        _run_calls(job["code"], job["calls"], 3)


def _set_limits(job: dict[str, Any]) -> None:
    os.environ.clear()
    os.umask(0o077)
    limits = {
        "AS": job["memory_bytes"],
        "CPU": job["cpu_time_s"],
        "FSIZE": job["written_bytes"],
        "NOFILE": job["open_files"],
        # Counted for the user as a whole, so it holds for those who have a user (root) or a user namespace of their
        # own. Elsewhere others' processes count too: then it may allow no thread at all, never too many.
        "NPROC": job["processes"],
        "CORE": 0,
        "MEMLOCK": 0,
        "MSGQUEUE": 0,
    }
    for name, value in limits.items():
        if (limit := getattr(resource, f"RLIMIT_{name}", None)) is not None:
            # A second of processor time more until the signal that cannot be ignored.
            hard = _at_most(resource.getrlimit(limit)[1], value + (name == "CPU"))
            resource.setrlimit(limit, (_at_most(hard, value), hard))


def _at_most(bound: int, value: int) -> int:
    return value if bound == resource.RLIM_INFINITY else min(bound, value)


def _enter_empty_root(root: str) -> bool:
    """Make the temporary directory all that the code can see, where we may (root only); else just go there."""
    os.chdir(root)
    if os.geteuid() != 0:
        return False
    for name in PRELOADED.split():
        importlib.import_module(name)
    try:
        os.chroot(root)
    except OSError:
        return False
    os.chdir("/")
    os.chmod("/", 0o1777)
    return True


def _leave_root(own_uid: int) -> bool:
    """Become a user that nobody else is (or nobody); without being root, stay who we are."""
    if os.geteuid() != 0:
        return False
    os.setgroups([])
    for number in (own_uid, NOBODY):
        with contextlib.suppress(OSError):
            os.setresgid(number, number, number)
            os.setresuid(number, number, number)
            return True
    return False


def _filter_holds() -> bool:
    """Try what the filter forbids: a filter that was taken but does nothing is none."""
    try:
        kernel.call("socketpair", 1, 1, 0, (ctypes.c_int * 2)())
    except PermissionError:
        return True
    return False


def _run_calls(code: str, calls: list[str], values: int) -> NoReturn:
    """Run the code, then each call; write one line of JSON for each call, or one for what put an end to it all.

    From here on nothing that this process says about itself is to be believed; its values are only compared.
    """
    try:
        known: dict[str, Any] = {"__name__": "answer"}
        exec(compile(code, "<answer>", "exec"), known)
        for call in calls:
            try:
                line = {"value": encode_value(eval(call, known))}
            except Exception as error:
                line = {"failure": type(error).__name__}
            _say(values, line)
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        os._exit(0)
    except MemoryError:
        os.write(values, b'{"stopped": "MemoryError"}\n')
    except BaseException as error:
        _say(values, {"stopped": type(error).__name__})
    os._exit(1)


def _watch(tested: int) -> dict[str, Any]:
    """Wait until the tested process ends or the caller is gone; reap whatever was left to us meanwhile."""
    while True:
        if select.select([0], [], [], POLL_INTERVAL_S)[0] and not os.read(0, 1):
            return {"signal": int(signal.SIGKILL), "cpu_time_s": 0.0}
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return {"signal": int(signal.SIGKILL), "cpu_time_s": 0.0}
            if pid == tested:
                signal_number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
                return {"signal": signal_number, "cpu_time_s": used.ru_utime + used.ru_stime}
            if pid == 0:
                break


def _end_descendants(tested: int) -> None:
    """End all that the tested process started: orphans become our children (subreaper), so this meets them all."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not os.path.isdir("/proc"):
            with contextlib.suppress(OSError):
                os.killpg(tested, signal.SIGKILL)
        for child in _children():
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(POLL_INTERVAL_S / 10)


def _children() -> list[int]:
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        # A process may go while we look.
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{int(name)}/stat", encoding="utf-8") as file:
            if int(file.read().rsplit(")", 1)[1].split()[1]) == os.getpid():
                found.append(int(name))
    return found


def _remove_tree(root: str) -> None:
    """Remove a directory however deep it is: each round lifts the directories in directories up into the root."""
    number = 0
    while entries := [entry for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False)]:
        for entry in entries:
            os.chmod(entry.path, 0o700)
            for inner in list(os.scandir(entry.path)):
                if inner.is_dir(follow_symlinks=False):
                    # To move a directory is to write into it.
                    os.chmod(inner.path, 0o700)
                    number += 1
                    os.rename(inner.path, os.path.join(root, f".lifted-{number}"))
                else:
                    os.unlink(inner.path)
            os.rmdir(entry.path)
    shutil.rmtree(root, ignore_errors=True)


def _say(pipe: int, line: dict[str, Any]) -> None:
    data = json.dumps(line).encode() + b"\n"
    while data:
        data = data[os.write(pipe, data) :]


def _read_line(pipe: int) -> bytes:
    """Read up to the first line's end, not a byte further: the caller sends nothing after it."""
    data = b""
    while not data.endswith(b"\n"):
        if not (part := os.read(pipe, 1 << 16)):
            os._exit(1)
        data += part
    return data
