"""The started program's own parts; what it does as a whole is in `test_sandbox`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from codling.rewards import sandbox_child
from codling.rewards.sandbox import START

SOURCE = str(Path(sandbox_child.__file__).parents[2])


def start(job: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-I", "-S", "-c", START, SOURCE, "1", "2"]
    return subprocess.run(command, input=job, capture_output=True, env={}, check=False, timeout=20)


def test_it_needs_nothing_but_the_standard_library() -> None:
    program = (
        f"import sys; sys.path.insert(0, {SOURCE!r}); import codling.rewards.sandbox_child;"
        " print(*{name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"codling", "__main__"}


def test_a_caller_that_goes_before_the_job_leaves_nothing() -> None:
    assert start(b'{"code": ').returncode == 1


@pytest.mark.parametrize("depth", [1, 3, 1500])
def test_trees_go_however_deep(tmp_path: Path, depth: int) -> None:
    root = tmp_path / "root"
    root.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    here = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        os.symlink(outside, "link", dir_fd=here)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.fchmod(here, 0)
    os.close(here)
    sandbox_child._remove_tree(str(root))
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (outside / "kept").exists()
