"""What untrusted code may try, and the evidence that none of it worked. Used by `test_sandbox.py`.

Every attack is bounded by itself: where the sandbox has a hole, the test fails and the machine stays well. The code
leaves what it achieved in `harm`, which must be nothing; the rest of the evidence is gathered outside. Run as a
program, by root, it becomes nobody first: `python attacks.py <empty directory>` prints what failed, as JSON.
"""

import contextlib
import dataclasses
import glob
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from codling.rewards.kernel import call
from codling.rewards.namespaces import MS_PRIVATE, MS_REC, NEW_FILES, NOBODY, show_read_only
from codling.rewards.sandbox import Ended, SandboxConfig, run_calls

SECRET = "attack-secret-" + secrets.token_hex(8)
DUE = 1234567
"""The value that a right answer would give: no attack knows it."""
LIMITS = SandboxConfig(
    wall_time_s=10.0,
    cpu_time_s=1,
    memory_bytes=200 * 2**20,
    written_bytes=2 * 2**20,
    output_bytes=32 * 2**10,
    processes=8,
)
START = "import os, sys, ctypes, time\nctypes.CDLL(None).prctl(15, b'@marker@', 0, 0, 0)\nharm = []\n"
"""Names the process, and so its children, that they can be found afterwards."""


class Attack(NamedTuple):
    code: str
    ended: tuple[Ended, ...] = (Ended.FINISHED,)
    limits: SandboxConfig = LIMITS


class World(NamedTuple):
    """Things that an attack may reach for."""

    directory: Path
    secretive: subprocess.Popen[bytes]
    listeners: tuple[socket.socket, ...]


QUICK = dataclasses.replace(LIMITS, wall_time_s=0.5)
ATTACKS = {
    "fork_bomb": Attack("""
children = 0
for _ in range(100):
    try:
        if os.fork() == 0:
            time.sleep(20)
            os._exit(0)
    except OSError:
        break
    children += 1
if children > 8:
    harm.append(f"{children} processes")
"""),
    "thread_bomb": Attack("""
import threading
started = 0
for _ in range(100):
    try:
        threading.Thread(target=time.sleep, args=(20,), daemon=True).start()
    except RuntimeError:
        break
    started += 1
if started > 8:
    harm.append(f"{started} threads")
"""),
    "memory_bomb": Attack("held = [bytearray(2**20) for _ in range(1000)]\nharm.append('1 GB')", (Ended.MEMORY,)),
    "memory_bomb_at_once": Attack("held = 'x' * 2**30\nharm.append('1 GB')", (Ended.MEMORY,)),
    "endless_loop": Attack("while True: pass", (Ended.TIME,), QUICK),
    "endless_loop_that_ignores_signals": Attack(
        "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass", (Ended.TIME,)
    ),
    "sleep": Attack("time.sleep(20)", (Ended.TIME,), QUICK),
    "raise_limits": Attack("""
import resource
for name in ("RLIMIT_AS", "RLIMIT_NPROC", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_NOFILE"):
    limit = getattr(resource, name)
    try:
        resource.setrlimit(limit, (resource.getrlimit(limit)[1] + 1,) * 2)
        harm.append(name)
    except (ValueError, OSError):
        pass
# The first process of a namespace is there for this code only, which may end it and so itself.
if os.getppid() > 1:
    try:
        resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))
        harm.append("limits of the parent")
    except OSError:
        pass
"""),
    "write_outside": Attack("""
for place in ("@directory@", "/tmp", "/var/tmp", "/dev/shm", os.path.dirname(os.__file__), "/"):
    try:
        open(place + "/@marker@.txt", "w").write("x")
    except OSError:
        pass
"""),
    "delete_files": Attack("""
import shutil
for place in ("@directory@", os.path.dirname(os.__file__)):
    for name in (os.listdir(place) if os.path.isdir(place) else []):
        if place == "@directory@" or name == "this.py":
            shutil.rmtree(place + "/" + name, ignore_errors=True)
try:
    os.remove("@directory@/victim.txt")
    harm.append("deleted")
except OSError:
    pass
"""),
    "read_files": Attack("""
for path in ("@directory@/victim.txt", "/etc/passwd", "/proc/self/mountinfo"):
    try:
        harm.append(open(path).read()[:50])
    except OSError:
        pass
"""),
    "read_environment": Attack("""
harm += os.environ.items()
for pid in (os.listdir("/proc") if os.path.isdir("/proc") else []):
    for name in ("environ", "cmdline"):
        try:
            if "attack-secret-" in open(f"/proc/{pid}/{name}").read():
                harm.append(pid)
        except OSError:
            pass
"""),
    "sockets": Attack("""
libc = ctypes.CDLL(None)
# Without the module: an empty root does not have it.
import struct
def inet(port): return struct.pack("=H", 2) + struct.pack("!H4s8x", port, bytes([127, 0, 0, 1]))
def unix(path): return struct.pack("=H", 1) + path
for name, family, kind, address in (
    ("tcp", 2, 1, inet(@tcp@)), ("udp", 2, 2, inet(@udp@)), ("unix", 1, 1, unix(b"@directory@/listener\\0")),
    ("abstract", 1, 1, unix(b"\\0@abstract@")),
):
    for number in (libc.socket(family, kind, 0),):
        if number >= 0 and libc.connect(number, address, len(address)) == 0 and libc.write(number, b"x", 1) == 1:
            harm.append(name)
"""),
    "flood_stdout": Attack("for _ in range(500): os.write(1, b'x' * 2**16)\nharm.append('30 MB')", (Ended.OUTPUT,)),
    "flood_stderr": Attack("for _ in range(500): os.write(2, b'x' * 2**16)\nharm.append('30 MB')", (Ended.OUTPUT,)),
    "flood_pipes": Attack(
        """
for _ in range(500):
    for pipe in range(3, 64):
        try:
            os.write(pipe, b"x" * 2**16)
        except OSError:
            pass
""",
        (Ended.OUTPUT,),
    ),
    "kill_others": Attack(
        """
import signal
for pid in (os.getppid(), @pid@, @secretive@, -1):
    for number in (0, signal.SIGINT, signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
        # Only to ask whether there is something to be killed, where it would be the test itself.
        if pid == @pid@ and number:
            continue
        try:
            os.kill(pid, number)
            if pid in (@pid@, @secretive@):
                harm.append(pid)
        except OSError:
            pass
""",
        (Ended.FINISHED, Ended.KILLED),
    ),
    "grandchild": Attack("""
try:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in range(64):
                try: os.close(number)
                except OSError: pass
            time.sleep(20)
        os._exit(0)
except OSError:
    pass
"""),
    "exit": Attack("sys.exit(0)", (Ended.ERROR,)),
    "exit_at_once": Attack("os._exit(0)", (Ended.ERROR,)),
    "exit_later": Attack("def answer(): os._exit(0)", (Ended.ERROR,)),
    "crash": Attack("ctypes.string_at(0)", (Ended.KILLED,)),
    "recursion": Attack("def f(): return f()\nf()", (Ended.ERROR,)),
    "deep_recursion": Attack(
        "sys.setrecursionlimit(10**8)\ndeep = []\nfor _ in range(10**6): deep = [deep]\nrepr(deep)",
        (Ended.KILLED, Ended.TIME),
    ),
    "fake_report": Attack("""
lines = b'''{"ready": {}}\\n{"end": {"signal": 0, "cpu_time_s": 0}}\\n{"value": 1}\\n{"value": []}\\n{}\\n[]\\n'''
print(lines.decode() * 3, flush=True)
for pipe in range(3, 256):
    try:
        os.write(pipe, lines * 3)
    except OSError:
        pass
def answer(): return 1
"""),
    "equal_to_everything": Attack("""
class Anything(int):
    __eq__ = __ne__ = lambda self, other: True
    __hash__ = int.__hash__
def answer(): return Anything(1)
"""),
    "patched_builtins": Attack(
        """
import builtins, json
builtins.eval = lambda *any: 1
json.dumps = lambda *any, **more: '{"value": true}'
sys.modules["codling.rewards.sandbox_child"].encode_value = lambda value: True
def answer(): return 1
""",
        (Ended.FINISHED,),
    ),
    "no_plain_values": Attack("""
deep = []
for _ in range(10**5): deep = [deep]
def answer(): return deep
"""),
    "huge_file": Attack("""
written = 0
try:
    with open("big", "wb") as file:
        for _ in range(30):
            written += file.write(b"x" * 2**20)
            file.flush()
except OSError:
    pass
if os.path.getsize("big") > 2**21:
    harm.append(written)
"""),
    "awkward_files": Attack("""
os.symlink("@directory@", "link")
open("@marker@", "w").close()
for _ in range(400):
    os.mkdir("d" * 100)
    os.chmod("d" * 100, 0o700)
    os.chdir("d" * 100)
os.chmod(".", 0)
"""),
    "read_stdin": Attack("harm += [os.read(0, 1)] if os.read(0, 1) else []"),
}


LAYERED = (
    "fork_bomb",
    "thread_bomb",
    "raise_limits",
    "write_outside",
    "delete_files",
    "read_files",
    "read_environment",
    "sockets",
    "kill_others",
    "grandchild",
    "huge_file",
    "awkward_files",
    "fake_report",
)
"""Those that a single layer must hold against too; the others fail for reasons that no layer changes."""


@contextlib.contextmanager
def make_world(directory: Path) -> Iterator[World]:
    """A directory that everybody may change, a process with a secret, and ears for every kind of socket."""
    directory.mkdir()
    (directory / "victim.txt").write_text("here")
    directory.chmod(0o777)
    (directory / "victim.txt").chmod(0o666)
    kinds = ((socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET, socket.SOCK_DGRAM))
    listeners = [socket.socket(*kind) for kind in (*kinds, (socket.AF_UNIX, 1), (socket.AF_UNIX, 1))]
    here = ("127.0.0.1", 0)
    addresses: list[Any] = [here, here, str(directory / "listener"), "\0" + SECRET]
    for listener, address in zip(listeners, addresses, strict=True):
        listener.bind(address)
        listener.setblocking(False)
        if listener.type == socket.SOCK_STREAM:
            listener.listen()
    (directory / "listener").chmod(0o777)
    with subprocess.Popen(["sleep", "60"], env={"SECRET": SECRET, "PATH": os.environ["PATH"]}) as secretive:
        try:
            yield World(directory, secretive, tuple(listeners))
        finally:
            secretive.kill()
            for listener in listeners:
                listener.close()


def run_attack(name: str, world: World, limits: dict[str, bool]) -> list[str]:
    """Let an attack loose in a sandbox; tell what is wrong afterwards."""
    attack, marker = ATTACKS[name], "a" + secrets.token_hex(6)
    replaced = {
        "directory": world.directory,
        "marker": marker,
        "pid": os.getpid(),
        "secretive": world.secretive.pid,
        "tcp": world.listeners[0].getsockname()[1],
        "udp": world.listeners[1].getsockname()[1],
        "abstract": SECRET,
    }
    code = START + "def answer(): return None\n" + attack.code
    for key, value in replaced.items():
        code = code.replace(f"@{key}@", str(value))
    began = time.monotonic()
    done = run_calls(code, ["harm", "answer()"], dataclasses.replace(attack.limits, **limits))
    took_s = time.monotonic() - began
    harm = done.calls[0].value if done.calls else []
    # An attack may also forge what it says of itself.
    wrong = [f"harm: {harm}"] if isinstance(harm, list) and harm else []
    wrong += [] if done.ended in attack.ended else [f"ended: {done.ended}, {done.calls}, {done.output[-300:]}"]
    wrong += ["took the right value"] if any(result.value == DUE for result in done.calls) else []
    wrong += [f"took {took_s:.1f} s"] if took_s > attack.limits.wall_time_s + 10 else []
    wrong += ["output"] if len(done.output) > attack.limits.output_bytes else []
    return wrong + _evidence(world, marker)


def _evidence(world: World, marker: str) -> list[str]:
    wrong = []
    if world.secretive.poll() is not None or "T" in Path(f"/proc/{world.secretive.pid}/stat").read_text().split()[2]:
        wrong.append("another process was stopped")
    if not (world.directory / "victim.txt").is_file() or len(list(world.directory.iterdir())) != 2:
        wrong.append("files of others were changed")
    for place in ("/tmp", "/var/tmp", "/dev/shm", os.path.dirname(os.__file__), "/", "/tmp/codling-sandbox-*"):
        wrong += [f"left behind: {path}" for path in glob.glob(f"{place}/@marker@*")]
    for listener in world.listeners:
        with contextlib.suppress(BlockingIOError):
            if listener.type == socket.SOCK_STREAM:
                listener.accept()[0].close()
            else:
                listener.recv(1)
            wrong.append(f"heard at {listener.getsockname()}")
    return wrong + [f"process left: {pid}" for pid in processes_named(marker)]


def processes_named(marker: str) -> list[int]:
    """The processes that carry the marker as their name."""
    found = []
    for path in glob.glob("/proc/[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if Path(path).read_text().strip() == marker:
                found.append(int(path.split("/")[2]))
    return found


def become_nobody(stash: Path) -> None:
    """Give up root, the interpreter and this code still readable, though they stand below root's home."""
    call("unshare", NEW_FILES)
    call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    needed = {os.path.realpath(sys.base_prefix), os.path.realpath(sys.prefix), str(Path(__file__).parents[2])}
    hidden: dict[str, list[str]] = {}
    for path in sorted(needed):
        closed = [str(p) for p in reversed(Path(path).parents) if not p.stat().st_mode & 0o001]
        if closed:
            hidden.setdefault(closed[0], []).append(path)
    for closed_path, paths in hidden.items():
        for number, path in enumerate(paths):
            show_read_only(path, f"{stash}{closed_path}/{number}")
        held = [os.open(f"{stash}{closed_path}/{number}", os.O_PATH) for number in range(len(paths))]
        call("mount", b"tmpfs", closed_path.encode(), b"tmpfs", 0, b"mode=755")
        for number, path in zip(held, paths, strict=True):
            show_read_only(f"/proc/self/fd/{number}", path)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def main() -> None:
    """Run the attacks as nobody; print the names of those that worked, or why there were none."""
    try:
        become_nobody(Path(sys.argv[1]))
    except OSError as error:
        print(json.dumps({"skipped": str(error)}))
        return
    wrong: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as directory, make_world(Path(directory) / "world") as world:
        for name in ATTACKS:
            wrong[f"all: {name}"] = run_attack(name, world, {})
        for name in ("fork_bomb", "grandchild", "read_environment", "kill_others", "write_outside", "sockets"):
            wrong[f"namespaces: {name}"] = run_attack(name, world, {"filter": False})
        for name in ("fork_bomb", "kill_others", "sockets", "grandchild", "raise_limits", "awkward_files"):
            wrong[f"filter: {name}"] = run_attack(name, world, {"namespaces": False, "allow_weak": True})
    print(json.dumps({"wrong": {name: list(map(str, found)) for name, found in wrong.items() if found}}))


if __name__ == "__main__":
    main()
