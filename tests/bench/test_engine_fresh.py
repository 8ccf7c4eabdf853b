import subprocess
import sys
from pathlib import Path

import pytest

from codling.bench import engine_fresh as module
from codling.bench.engine_fresh import INSTRUCTIONS, INSTRUCTIONS_SMALL, MEMORY, START, measure_fresh
from codling.errors import UserError
from tests.bench.engine_tiny import tiny_run


def test_memory_and_start_are_those_of_processes_of_their_own(tmp_path: Path) -> None:
    run = tiny_run(tmp_path, [])
    run = run._replace(config=run.config._replace(threads=(1,), num_rounds=1))
    measure_fresh(run, [MEMORY, START])
    memory, start = run.log.rows
    assert (memory.key.size_tokens, memory.unit) == (128, "GB")
    # Python and NumPy, but not JAX.
    assert 0.01 < memory.value < 0.3
    assert 0 < start.value < 60


def test_instructions_of_a_token_are_the_difference_of_two_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted(tool: list[str], bundle: Path, *numbers: int) -> subprocess.CompletedProcess[str]:
        num_tokens = numbers[2]
        return subprocess.CompletedProcess([], 0, "", f"==1== Collected : {5_000 + 70 * num_tokens}\n")

    monkeypatch.setattr(module, "_run", counted)
    monkeypatch.setattr("shutil.which", lambda name: name)
    run = tiny_run(tmp_path, [], small=tmp_path)
    measure_fresh(run, [INSTRUCTIONS, INSTRUCTIONS_SMALL])
    assert [row.key.group for row in run.log.rows] == [INSTRUCTIONS, INSTRUCTIONS_SMALL]
    assert all(row.ours == (70.0,) for row in run.log.rows)


def test_without_valgrind_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UserError, match="apt install valgrind"):
        measure_fresh(tiny_run(tmp_path, []), [INSTRUCTIONS])


def test_a_process_that_breaks_is_an_error(tmp_path: Path) -> None:
    run = tiny_run(tmp_path, [])._replace(bundle=tmp_path / "nowhere")
    with pytest.raises(UserError, match="nowhere: no such directory"):
        measure_fresh(run, [START])


def test_the_users_memory_settings_are_not_those_of_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    probe = "import os; assert 'GLIBC_TUNABLES' not in os.environ; print('{}')"
    monkeypatch.setattr(module, "PROGRAM", [sys.executable, "-c", probe])
    assert module._run([], tmp_path).stdout == "{}\n"
