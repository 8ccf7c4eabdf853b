"""Runs command lines in this process, as the tests of the commands want them."""

import contextlib
import hashlib
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from codling.cli import run

COMMAND = [sys.executable, "-c", "from codling.cli import main; main()"]


def fingerprint(directory: Path) -> str:
    """Every path below, with its content and its time of change."""
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        digest.update(f"{path}{path.lstat().st_mtime_ns}".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def refused(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> str:
    """Run a command that must fail; returns its one line."""
    before = fingerprint(folder)
    assert run(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert fingerprint(folder) == before
    return line.removeprefix("codling: ")


def succeeded(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must work, without a word on stderr; returns what it printed."""
    assert run(arguments) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


@contextlib.contextmanager
def full_disk(left_bytes: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: the kernel refuses to write as it does on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def name_of(value: object) -> str:
    """How a row of bad input shows in the names of tests."""
    return " ".join(value)[:60].encode("ascii", "replace").decode() if isinstance(value, list) else ""
