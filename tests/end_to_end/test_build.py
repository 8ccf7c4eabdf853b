"""The whole recipe at tiny size: it ends, it can be killed anywhere, and it ends in the same bytes."""

import json
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from codling.recipes.recipe import stages
from codling.recipes.tiny import tiny
from tests.end_to_end.conftest import command, environment, result_hashes

pytestmark = pytest.mark.slow

STAGE_NAMES = [stage.name for stage in stages(tiny())]
KILLED_IN = [name for name in STAGE_NAMES if not name.startswith(("server_round2", "device_round1"))]
"""Of the committee's rounds the first alone: the code of all is the same."""
KILL_SEED = 7


def test_the_build_leaves_what_the_readme_says(undisturbed: Path) -> None:
    assert (undisturbed / "report.html").stat().st_size > 20_000
    for bundle in ("server", "device"):
        names = {path.name for path in (undisturbed / bundle).iterdir()}
        assert {
            "config.json",
            "model.safetensors",
            "tokenizer.model",
            "tokenizer.json",
            "tokenizer_config.json",
            "generation_config.json",
            "manifest.json",
        } <= names
    assert (undisturbed / "device" / "adapters" / "recovery" / "adapter_model.safetensors").is_file()


def test_a_second_build_reuses_every_stage(undisturbed: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("manifest.json")}
    subprocess.run(command(undisturbed), env=environment(), check=True, capture_output=True)
    assert {path: path.stat().st_mtime_ns for path in undisturbed.rglob("manifest.json")} == before


def test_a_build_killed_in_every_stage_ends_in_the_same_bytes(undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny"
    rng = random.Random(KILL_SEED)
    num_records = {name: _num_records(name, undisturbed) for name in KILLED_IN}
    killed_in = [name for name in KILLED_IN if _kill_in(name, out, num_records[name], rng)]
    done = subprocess.run(command(out), env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert result_hashes(out) == result_hashes(undisturbed)
    # A stage of some milliseconds may end before the signal comes; every training stage must have been hit.
    assert {name for name, count in num_records.items() if count} <= set(killed_in)


def _num_records(stage: str, out: Path) -> int:
    """Records that a training stage has written so far; none for any other stage."""
    return sum(path.read_bytes().count(b"\n") for path in out.glob(f"stages/{stage}-*/metrics.jsonl"))


def _kill_in(stage: str, out: Path, num_records: int, rng: random.Random) -> bool:
    """Start the build; SIGKILL it once `stage` is under way. Returns whether the stage was not done yet.

    A stage that writes records is under way after some of them, any other as soon as it has begun.
    """
    wanted = rng.randrange(1, num_records) if num_records else 0
    with subprocess.Popen(
        command(out, "--until", stage), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None and not list(out.glob(f"stages/{stage}-*/started.json")):
            time.sleep(0.005)
        deadline_s = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline_s and _num_records(stage, out) < wanted:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    return not list(out.glob(f"stages/{stage}-*/manifest.json"))


def test_another_build_on_this_machine_has_the_same_bytes(undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    subprocess.run(command(out), env=environment(), check=True, capture_output=True)
    assert result_hashes(out) == result_hashes(undisturbed)


def test_a_changed_late_stage_leaves_the_early_ones(undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(undisturbed, out)
    before = {path.name for path in (out / "stages").iterdir()}
    subprocess.run(command(out, "--set", "device_recover.rank=2"), env=environment(), check=True, capture_output=True)
    added = sorted(path.name.rpartition("-")[0] for path in (out / "stages").iterdir() if path.name not in before)
    features = [f"device_adapt_{name}" for name in tiny().device_features]
    assert added == sorted(["device", "device_recover", *features, "measure", "report"])
    adapter = json.loads((out / "device" / "adapters" / "recovery" / "adapter_config.json").read_text())
    assert adapter["r"] == 2
