"""Untrusted code gives values and nothing else, whoever runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from codling.config import from_dict
from codling.errors import UserError
from codling.rewards.sandbox import CallResult, Ended, Isolation, SandboxConfig, run_calls
from tests.rewards import attacks
from tests.rewards.attacks import ATTACKS, LAYERED, World, make_world, processes_named, run_attack

IS_ROOT = os.geteuid() == 0
ANYWHERE = SandboxConfig(allow_weak=True)
"""For tests of what the code gives, on any machine."""
LAYERS = {"all": {}, "namespaces": {"filter": False}, "filter": {"namespaces": False}}


def grants(limits: dict[str, bool]) -> bool:
    """Tell whether this machine isolates code with these layers."""
    try:
        run_calls("", [], SandboxConfig(**limits))
    except UserError:
        return False
    return True


GRANTED = {name: grants(limits) for name, limits in LAYERS.items()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with make_world(tmp_path_factory.mktemp("attacks") / "world") as made:
        yield made


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_works(name: str, world: World) -> None:
    if not GRANTED["all"]:
        pytest.skip("refused on this machine, as test_what_is_too_weak_is_refused shows")
    assert run_attack(name, world, {}) == []


@pytest.mark.parametrize("layers", ["namespaces", "filter"])
@pytest.mark.parametrize("name", LAYERED)
def test_no_attack_works_against_a_single_layer(name: str, layers: str, world: World) -> None:
    if not GRANTED[layers]:
        pytest.skip("refused on this machine, as test_what_is_too_weak_is_refused shows")
    assert run_attack(name, world, LAYERS[layers]) == []


def test_the_attacks_would_work_elsewhere(world: World) -> None:
    """Without layers some of the harm is done: the evidence is worth something."""
    weak = {"namespaces": False, "filter": False, "allow_weak": True}
    found = run_attack("sockets", world, weak)
    assert any(line.startswith("harm") for line in found)
    assert any(line.startswith("heard") for line in found)


@pytest.mark.skipif(not IS_ROOT, reason="only root can become nobody; the tests above ran as somebody")
def test_no_attack_works_when_nobody_runs_the_sandbox(tmp_path: Path) -> None:
    source = Path(sys.modules[run_calls.__module__].__file__ or "").parents[2]
    done = subprocess.run(
        [sys.executable, attacks.__file__, str(tmp_path)],
        env={"PYTHONPATH": str(source), "PATH": os.environ["PATH"], "SECRET": attacks.SECRET},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    if "skipped" in said:
        pytest.skip(said["skipped"])
    assert said == {"wrong": {}}


def test_what_is_too_weak_is_refused() -> None:
    with pytest.raises(UserError, match=r"grants too little .*filter: no.*allow_weak"):
        run_calls("", [], SandboxConfig(namespaces=False, filter=False))
    assert IS_ROOT or not GRANTED["filter"]
    weak = run_calls("", ["1"], SandboxConfig(namespaces=False, filter=False, allow_weak=True))
    assert weak.calls == (CallResult(1),)
    assert weak.isolation == Isolation(False, weak.isolation.own_root and IS_ROOT, IS_ROOT, False)


@pytest.mark.parametrize("name", ["fork_bomb", "grandchild"])
def test_even_a_weak_sandbox_leaves_no_process(name: str, world: World) -> None:
    found = run_attack(name, world, {"namespaces": False, "filter": False, "allow_weak": True})
    assert not [line for line in found if line.startswith("process left")]


def test_values_come_out_in_order_and_failures_by_name() -> None:
    code = "def add(a, b):\n    print('adding')\n    return a + b"
    done = run_calls(code, ["add(1, 2)", "add(1, '')", "add([1], [(2, {'a': {3}})])", "add"], ANYWHERE)
    assert done.ended == Ended.FINISHED
    assert done.calls == (
        CallResult(3),
        CallResult(failure="TypeError"),
        CallResult([1, (2, {"a": {3}})]),
        CallResult(failure="ValueError"),
    )
    assert done.output.count("adding") == 3


def test_what_was_said_before_the_end_counts() -> None:
    done = run_calls("def f(x):\n    while x: pass", ["f(0)", "f(1)"], SandboxConfig(wall_time_s=0.5, allow_weak=True))
    assert (done.ended, done.calls) == (Ended.TIME, (CallResult(None),))


@pytest.mark.parametrize("code", ["def f(:", "raise SystemExit", "\0", "\ud800", "(" * 10000, "1/0"])
def test_code_that_is_none_is_a_result(code: str) -> None:
    done = run_calls(code, ["1"], ANYWHERE)
    assert done.ended in (Ended.ERROR, Ended.MEMORY)
    assert done.calls == ()
    assert done.stopped_by


def test_limits_that_are_lower_already_stay() -> None:
    program = """
import resource
from codling.rewards.sandbox import *
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
code = "import resource; found = resource.getrlimit(resource.RLIMIT_NOFILE)"
print(run_calls(code, ["found"], SandboxConfig(allow_weak=True)).calls[0].value)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "(40, 40)\n", done.stderr


def test_modules_of_the_library_are_there() -> None:
    code = "import collections, dataclasses, functools, heapq, itertools, math, re, string, typing"
    for name, limits in LAYERS.items():
        if GRANTED[name]:
            assert run_calls(code, ["math.gcd(4, 6)"], SandboxConfig(**limits)).calls == (CallResult(2),)


def test_the_sandbox_ends_with_its_caller() -> None:
    marker = f"x{os.getpid()}"
    call = f"import ctypes, time\nctypes.CDLL(None).prctl(15, b'{marker}', 0, 0, 0)\ntime.sleep(60)"
    limits = "SandboxConfig(wall_time_s=60, allow_weak=True)"
    program = f"from codling.rewards.sandbox import *; run_calls({call!r}, [], {limits})"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", program], env=environment) as caller:
        await_that(lambda: bool(processes_named(marker)))
        caller.send_signal(signal.SIGKILL)
    await_that(lambda: not processes_named(marker))


def await_that(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"wall_time_s": 0}, "above 0"),
        ({"wall_time_s": float("inf")}, "wall_time_s|above 0"),
        ({"memory_bytes": -1}, "above 0"),
        ({"cpu_time": 1}, "unknown key 'cpu_time'"),
        ({"cpu_time_s": 0.5}, "key 'cpu_time_s'"),
    ],
)
def test_bad_limits_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_dict(SandboxConfig, values, source="x")
