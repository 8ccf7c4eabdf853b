"""Second step of the sandbox: limits, another user, the audit hook; then the code, its tests, and the verdict.

A script of its own, run by `sandbox_launcher`; it imports nothing of codling. All that the code could want is loaded
before the door closes: as another user, the interpreter's own files may be out of reach.
"""

import json
import os
import resource
import sys
import types
from collections.abc import Callable
from typing import Any

PRELOADED = (
    "abc bisect cmath collections copy dataclasses datetime decimal enum fractions functools hashlib heapq itertools "
    "json math numbers operator random re statistics string textwrap time typing unicodedata"
)
UNAUDITED = ("mkfifo", "mknod", "memfd_create", "setsid", "setpgid")
"""What the hook does not hear of is taken away."""
FORBIDDEN_PREFIXES = (
    "socket.",
    "subprocess.",
    "ctypes.",
    "mmap.",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.kill",
    "os.killpg",
    "os.posix_spawn",
    "os.putenv",
    "os.setxattr",
    "os.spawn",
    "os.startfile",
    "os.system",
    "pty.",
    "signal.",
    "sys.addaudithook",
    "fcntl.",
    "ftplib.",
    "http.",
    "urllib.",
    "syslog.",
    "webbrowser.",
)
CHANGING_FILES = [
    "os.chmod",
    "os.chown",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.removexattr",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.truncate",
    "os.unlink",
    "os.utime",
    "shutil.chown",
    "shutil.copyfile",
    "shutil.copymode",
    "shutil.copystat",
    "shutil.copytree",
    "shutil.move",
    "shutil.rmtree",
]
LOOKING_AROUND = ("os.listdir", "os.scandir", "os.chdir", "glob.glob")
FORBIDDEN_MODULES = ("_ctypes", "ctypes", "_posixsubprocess", "_socket", "mmap", "resource", "_testcapi")


def main() -> None:
    """Close the doors one after the other, run, and tell."""
    settings, held = json.loads(sys.argv[1]), [name for name in sys.argv[2].split(",") if name]
    for name in PRELOADED.split():
        __import__(name)
    job = json.loads(sys.stdin.buffer.read())
    sys.stdin.close()
    sys.argv[:] = [""]
    held += restrict(settings)
    for module in ("os", "posix"):
        for name in UNAUDITED:
            vars(sys.modules[module]).pop(name, None)
    sys.addaudithook(guard(settings["directory"]))
    held.append("audit hook")
    passed = run(job.pop("code"), job.pop("tests"))
    token = job.pop("token")
    verdict = json.dumps({"token": token, "passed": passed, "isolation": held})
    os.write(settings["verdict_fd"], verdict.encode())
    os._exit(0)


def restrict(settings: dict[str, Any]) -> list[str]:
    """Limits, and another user where this one is root. What held."""
    seconds, held = settings["processor_time_s"], ["limits"]
    for name, value in (
        ("RLIMIT_CPU", seconds),
        ("RLIMIT_AS", settings["memory_bytes"]),
        ("RLIMIT_FSIZE", settings["file_size_bytes"]),
        ("RLIMIT_NOFILE", settings["num_open_files"]),
        ("RLIMIT_CORE", 0),
    ):
        resource.setrlimit(getattr(resource, name), (value, value))
    if settings["user"] is not None:
        os.setgroups([])
        os.setresgid(*[settings["user"]] * 3)
        os.setresuid(*[settings["user"]] * 3)
        held.append("another user")
    # After the change of user: what counts is the processes of the one that stays. This process is one already.
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    return held


def guard(directory: str) -> Callable[[str, tuple[Any, ...]], None]:
    """The audit hook: raises where the code reaches for what is none of its business."""
    readable = tuple({os.path.realpath(sys.base_prefix), os.path.realpath(os.path.dirname(os.__file__))})
    realpath, fspath, separator = os.path.realpath, os.fspath, os.sep
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

    def is_within(path: Any, *roots: str) -> bool:
        if isinstance(path, int):
            return False
        path = fspath(path)
        real = realpath(path.decode() if isinstance(path, bytes) else path)
        return any(real == root or real.startswith(root + separator) for root in roots)

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(FORBIDDEN_PREFIXES):
            raise PermissionError(event)
        if event == "import" and arguments[0].partition(".")[0] in FORBIDDEN_MODULES:
            raise ImportError(arguments[0])
        if event == "open":
            path, mode, flags = arguments
            is_writing = bool(flags & writing) or (isinstance(mode, str) and any(letter in mode for letter in "wax+"))
            if not is_within(path, directory, *(() if is_writing else readable)):
                raise PermissionError(f"open {path!r}")
        if event in LOOKING_AROUND and not is_within(arguments[0] or ".", directory, *readable):
            raise PermissionError(event)
        if event in CHANGING_FILES:
            paths = [part for part in arguments if isinstance(part, str | bytes | os.PathLike)]
            if not paths or not all(is_within(path, directory) for path in paths):
                raise PermissionError(event)

    return refuse


def run(code: str, tests: list[str]) -> list[bool]:
    """Whether each test passes. Code that raises passes none, and neither does one that ends the process."""
    module = types.ModuleType("answer")
    sys.modules["answer"] = module
    try:
        exec(compile(code, "answer", "exec"), module.__dict__)
    except BaseException:
        return [False] * len(tests)
    passed = []
    for test in tests:
        try:
            exec(compile(test, "test", "exec"), dict(module.__dict__))
            passed.append(True)
        except BaseException:
            passed.append(False)
    return passed


if __name__ == "__main__":
    main()
