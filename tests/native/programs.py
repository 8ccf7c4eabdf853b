"""Builds the programs of native/tests, each kind in a folder of its own, which stays from run to run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILDS = ROOT / ".cache" / "native"


def find_tool(name: str, package: str) -> str:
    """The path of a program; skips the test where it is not installed."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not installed (apt install {package})")
    return found


def build(kind: str, *options: str) -> Path:
    """Compile all programs; the folder that they lie in."""
    cmake, ninja = find_tool("cmake", "cmake"), find_tool("ninja", "ninja-build")
    directory = BUILDS / kind
    common = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}", "-DCODLING_NATIVE_TESTS=ON"]
    run([cmake, "-S", ROOT / "native", "-B", directory, *common, *options])
    run([cmake, "--build", directory])
    return directory / "tests"


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> str:
    """What the program prints; fails with all of that if it ends with another status than 0."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=os.environ | dict(environment or {}),
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout}"
    return done.stdout
