import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from codling.train.host import LARGE_PAGES_SETTING, pass_over_missing_tpus

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


RESTARTED = """
import os, sys
from codling.train.host import restart_with_large_pages

print(os.getpid(), os.environ.get("GLIBC_TUNABLES"), *sys.argv[1:], flush=True)
restart_with_large_pages()
print("goes on")
"""

glibc_only = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
large_pages_only = pytest.mark.skipif(
    "[never]" in (LARGE_PAGES_SETTING.read_text() if LARGE_PAGES_SETTING.exists() else "[never]"),
    reason="this kernel gives no large pages",
)


def faults_of_second_request(choice: str, tunables: str = "") -> int:
    environment = os.environ | {"GLIBC_TUNABLES": tunables}
    command = [sys.executable, "-c", SCRIPT, choice]
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return int(output.stdout)


@glibc_only
def test_memory_asked_for_again_costs_no_page_faults() -> None:
    assert faults_of_second_request("no") > 1000
    assert faults_of_second_request("keep") < 1000


@glibc_only
@large_pages_only
def test_large_pages_cost_few_faults_in_threads_that_have_their_own_arenas() -> None:
    assert faults_of_second_request("keep", "glibc.malloc.hugetlb=1") < 1000


@glibc_only
@large_pages_only
@pytest.mark.parametrize(
    ("before", "after"), [("", "glibc.malloc.hugetlb=1"), ("a.b=2", "a.b=2:glibc.malloc.hugetlb=1")]
)
def test_a_program_starts_once_more_as_the_same_process(before: str, after: str) -> None:
    assert lines_of_restarted(before) == [f"{before} a b c", f"{after} a b c", "goes on"]


@glibc_only
def test_what_the_user_says_of_large_pages_holds() -> None:
    assert lines_of_restarted("glibc.malloc.hugetlb=0") == ["glibc.malloc.hugetlb=0 a b c", "goes on"]


def lines_of_restarted(tunables: str) -> list[str]:
    """What it printed, without the number of its process, which must be one."""
    environment = os.environ | {"GLIBC_TUNABLES": tunables}
    command = [sys.executable, "-c", RESTARTED, "a", "b", "c"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
    assert all(line.startswith(f"{process.pid} ") for line in lines[:-1])
    return [line.removeprefix(f"{process.pid} ") for line in lines]


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
