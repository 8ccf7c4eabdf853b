"""A build that is told to end, as clusters do, and one whose newest checkpoint was damaged meanwhile."""

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.end_to_end.conftest import command, environment

pytestmark = pytest.mark.slow

LONG = ("--until", "server_core", "--set", "server_core.loop.num_steps=100000")
"""So many steps that the build does not end by itself."""
TIMEOUT_S = 120


def test_sigterm_saves_and_a_damaged_checkpoint_is_passed_over(undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny"
    shutil.copytree(undisturbed, out)
    first, warnings = _terminated(out, num_steps=20)
    assert warnings == []
    [checkpoints] = out.glob("stages/server_core-*/checkpoints")
    [file] = (checkpoints / str(first) / "state").glob("manifest.ocdbt")
    file.write_bytes(file.read_bytes()[:-1])

    second, [warning] = _terminated(out, num_steps=first + 20)
    assert second > first
    assert f"checkpoint {first} is damaged" in warning
    assert re.search(rf"kept as damaged-{first}; going on from checkpoint \d+$", warning)
    steps = [json.loads(line)["step"] for line in (checkpoints.parent / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, second + 1))


def _terminated(out: Path, num_steps: int) -> tuple[int, list[str]]:
    """Build until so many steps are recorded, and end it by SIGTERM: the step it stopped after, and its warnings."""
    with subprocess.Popen(
        command(out, *LONG), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline_s = time.monotonic() + TIMEOUT_S
        while process.poll() is None and _recorded(out) < num_steps and time.monotonic() < deadline_s:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 143, errors
    *warnings, last = errors.splitlines()
    match = re.fullmatch(r"codling: server_core: stopped by SIGTERM after step (\d+); run again to go on", last)
    assert match is not None, errors
    return int(match[1]), warnings


def _recorded(out: Path) -> int:
    """Steps of the unfinished stage that are recorded."""
    files = [path for path in out.glob("stages/server_core-*/metrics.jsonl") if not _is_done(path.parent)]
    return sum(path.read_bytes().count(b"\n") for path in files)


def _is_done(stage: Path) -> bool:
    return (stage / "manifest.json").exists()
