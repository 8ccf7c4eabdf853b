"""The sandbox runs honest code and holds off attacks: the trainer lives, the answer scores zero, nothing is left."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from codling.rewards import sandbox
from codling.rewards.sandbox import Ending, Limits, run_python
from tests.rewards.sandbox_attacks import RIGHT, TESTS, attacks

LIMITS = Limits(wall_time_s=3.0, processor_time_s=1)
ENDINGS = {"sleep": Ending.TIMED_OUT, "flood": Ending.OUTPUT_TOO_LONG, "exit": Ending.DONE, "hard exit": Ending.BROKEN}
SYSTEM_PYTHON = Path("/usr/bin/python3")


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """Somebody to reach, if anybody can."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.01)
        yield server


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A file that anybody may write, and nobody does."""
    path = tmp_path / "canary"
    path.write_text("alive")
    path.chmod(0o666)
    before = set(Path(tempfile.gettempdir()).glob("codling-sandbox-*"))
    yield path
    assert path.read_text() == "alive"
    assert set(Path(tempfile.gettempdir()).glob("codling-sandbox-*")) <= before
    assert not (tmp_path / "canary.x").exists()


@pytest.mark.parametrize("name", attacks(Path("canary"), 0))
def test_attacks_score_nothing(
    name: str, canary: Path, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODLING_SECRET", "secret")
    result = run_python(attacks(canary, listener.getsockname()[1])[name], TESTS, LIMITS)
    assert result.share == 0.0
    assert name not in ENDINGS or result.ending is ENDINGS[name]
    with pytest.raises(TimeoutError):
        listener.accept()


@pytest.mark.skipif(os.geteuid() != 0 or not SYSTEM_PYTHON.exists(), reason="becomes another user, who needs a Python")
def test_attacks_of_an_unprivileged_user_score_nothing(canary: Path, listener: socket.socket) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        for script in (sandbox.LAUNCHER, sandbox.HARNESS):
            shutil.copy(script, directory)
        script = Path(__file__).with_name("sandbox_attacks.py")
        command = [sys.executable, str(script), name, str(canary), str(listener.getsockname()[1])]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ | {"CODLING_SECRET": "secret"}
        )
        assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == 1 + len(attacks(canary, 0))
    assert {result["name"]: result["share"] for result in results if result["share"]} == {"nothing": 1.0}
    assert "another user" not in results[0]["isolation"]
    with pytest.raises(TimeoutError):
        listener.accept()


def test_honest_code_passes_its_tests() -> None:
    code = "import math, random\nprint('hello')\nopen('own.txt', 'w').write('x')\n\ndef answer():\n    return 42\n"
    tests = [*TESTS, "assert answer() == 41", "assert math.pi > 3", "assert open('own.txt').read() == 'x'", "1 / 0"]
    result = run_python(code, tests, LIMITS)
    assert (result.num_passed, result.num_tests, result.ending) == (3, 5, Ending.DONE)
    assert result.share == 0.6
    assert {"limits", "audit hook"} <= set(result.isolation)
    assert ("another user" in result.isolation) == (os.geteuid() == 0)


def test_tests_do_not_see_each_other_s_names() -> None:
    assert run_python(RIGHT, ["x = 1", "assert 'x' not in dir()"], LIMITS).num_passed == 2


def test_a_test_that_ends_the_process_fails_them_all() -> None:
    result = run_python(RIGHT, [*TESTS, "import os; os._exit(0)"], LIMITS)
    assert (result.share, result.ending) == (0.0, Ending.BROKEN)


def test_long_code_and_code_that_is_never_read_do_not_block() -> None:
    assert run_python(RIGHT + "# " + "x" * 10**6, TESTS, LIMITS).share == 1.0


def test_without_tests_there_is_nothing_to_earn() -> None:
    assert run_python(RIGHT, [], LIMITS).share == 0.0
