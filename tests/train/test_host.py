import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from codling.train.host import pass_over_missing_tpus

# In a process of its own: what this changes cannot be taken back. Prints the page faults of a second request.
SCRIPT = """
import ctypes, resource, sys, threading
from codling.train.host import keep_freed_memory

assert sys.argv[1] == "no" or keep_freed_memory()
faults = []

def use():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(64 * 2**20)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

for _ in range(2):
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
print(faults[1])
"""


def faults_of_second_request(choice: str) -> int:
    output = subprocess.run([sys.executable, "-c", SCRIPT, choice], capture_output=True, text=True, check=True)
    return int(output.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
def test_memory_asked_for_again_costs_no_page_faults() -> None:
    assert faults_of_second_request("no") > 1000
    assert faults_of_second_request("keep") < 1000


@pytest.mark.parametrize(
    ("modules", "chips", "asked", "platforms"),
    [
        ({"libtpu"}, [], None, "cpu"),
        ({"libtpu"}, [Path("/dev/accel0")], None, None),
        ({"libtpu", "jax_cuda13_plugin"}, [], None, None),
        (set(), [], None, None),
        ({"libtpu"}, [], "tpu", "tpu"),
    ],
    ids=["libtpu alone", "with chips", "with CUDA", "nothing", "as asked"],
)
def test_a_libtpu_without_tpus_is_passed_over_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, modules: set[str], chips: list[Path], asked: str | None, platforms: str | None
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "found" if name in modules else None)
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(chips))
    # Set first, so that whatever is set below is taken back at the end.
    monkeypatch.setenv("JAX_PLATFORMS", asked or "")
    if asked is None:
        monkeypatch.delenv("JAX_PLATFORMS")
    pass_over_missing_tpus()
    assert os.environ.get("JAX_PLATFORMS") == platforms
