"""Is a run that is killed again and again the same as one that is not, bit for bit?

    python bench/kill.py runs/kill --kills 20 --seed 0 --json bench/results/kill.json

The quickstart's core training of the server, shortened, once undisturbed and once with SIGKILL at random moments: every
fourth one while it starts up (imports, held-out loss, restoring, compilation), the others while it trains and saves.
Compared are the loss curve, without the tokens a second, and the SHA-256 of every file of the result. Exit status 1
says that something differs.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from codling.artifact.manifest import hardware, library_versions, read_manifest, source_commit
from codling.recipes.quickstart import quickstart
from codling.recipes.recipe import Recipe
from codling.recipes.registry import recipe_toml
from codling.train.checkpoint import HALF_WRITTEN
from codling.train.metrics import METRICS_FILE, read_metrics

STAGE = "server_core"
STARTUP_KILL_EVERY = 4
CACHE_DIRECTORY = "compiled"
"""Compiled programs are kept between the lives, or most of them would be start-up."""


class Moment(NamedTuple):
    """When to kill."""

    delay_s: float
    is_in_training: bool
    """Counted from the first step that this life records; or from the start of the process."""


class Kill(NamedTuple):
    """One SIGKILL."""

    moment: Moment
    num_records_before: int
    """Steps in `metrics.jsonl` when the life began; those after the last checkpoint it made again."""
    num_records: int
    """When the kill came."""
    half_written: list[str]
    """Checkpoints that were being written."""
    warnings: list[str]
    """What the process had said by then."""


def recipe_for(num_steps: int) -> Recipe:
    """The quickstart with a core training of so many steps, all recorded, and a checkpoint every tenth."""
    base = quickstart()
    loop = replace(base.server_core.loop, num_steps=num_steps, save_every_steps=10, log_every_steps=1)
    return replace(base, server_core=replace(base.server_core, loop=loop, heldout_rows_per_kind=4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="directory that is not there yet")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", type=Path, help="file that the figures are written to")
    arguments = parser.parse_args()
    figures = measure(arguments.out, arguments.steps, arguments.kills, arguments.seed)
    text = json.dumps(figures, indent=1) + "\n"
    print(text, end="")
    if arguments.json is not None:
        arguments.json.write_text(text)
    sys.exit(0 if figures["same_loss_curve"] and figures["same_files"] else 1)


def measure(out: Path, num_steps: int, num_kills: int, seed: int) -> dict[str, Any]:
    undisturbed, killed = out / "undisturbed", out / "killed"
    out.mkdir(parents=True)
    recipe = out / "recipe.toml"
    recipe.write_text(recipe_toml(recipe_for(num_steps)))
    finish(recipe, undisturbed, "tokens")
    shutil.copytree(undisturbed, killed)
    startup_s, training_s = times_of(recipe, undisturbed)
    rng, kills = random.Random(seed), list[Kill]()
    while len(kills) < num_kills:
        is_in_training = len(kills) % STARTUP_KILL_EVERY != 0
        # No life trains so long that the run ends before its last kill.
        longest_s = training_s / num_kills if is_in_training else startup_s
        kill = kill_at(Moment(rng.uniform(0, longest_s), is_in_training), recipe, killed)
        if kill is None:
            break
        print(f"kill {len(kills) + 1}: {kill}", file=sys.stderr)
        kills.append(kill)
    last_warnings = finish(recipe, killed, STAGE)
    curves = [curve(directory) for directory in (undisturbed, killed)]
    files = [read_manifest(stage_of(directory)).files_sha256 for directory in (undisturbed, killed)]
    return {
        "what": "core training of the quickstart's server, undisturbed and with SIGKILL at random moments",
        "commit": source_commit(),
        "hardware": hardware(),
        "libraries": library_versions(),
        "seed": seed,
        "num_steps": num_steps,
        "startup_s": startup_s,
        "training_s": training_s,
        "num_kills": len(kills),
        "same_loss_curve": curves[0] == curves[1] and len(curves[0]) == num_steps,
        "same_files": files[0] == files[1],
        "files_sha256": files[1],
        "num_kills_in_training": sum(kill.moment.is_in_training for kill in kills),
        "num_kills_in_a_save": sum(bool(kill.half_written) for kill in kills),
        "kills": [kill._asdict() | {"moment": kill.moment._asdict()} for kill in kills],
        "warnings_of_the_last_life": last_warnings,
    }


def command(recipe: Path, out: Path, until: str) -> list[str]:
    return [sys.executable, "-m", "codling", "build", str(recipe), "--out", str(out), "--until", until]


def environment(recipe: Path) -> dict[str, str]:
    return os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(recipe.parent.absolute() / CACHE_DIRECTORY),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def finish(recipe: Path, out: Path, until: str) -> list[str]:
    done = subprocess.run(
        command(recipe, out, until), env=environment(recipe), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return done.stderr.splitlines()


def times_of(recipe: Path, out: Path) -> tuple[float, float]:
    """Run undisturbed; seconds until the first step is recorded, and from there to the end."""
    start_s, first_s = time.monotonic(), None
    with subprocess.Popen(command(recipe, out, STAGE), env=environment(recipe), stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            if first_s is None and num_records(out) > 0:
                first_s = time.monotonic()
            time.sleep(0.01)
    if process.returncode != 0 or first_s is None:
        raise RuntimeError(f"the undisturbed run ended with status {process.returncode}")
    return first_s - start_s, time.monotonic() - first_s


def kill_at(moment: Moment, recipe: Path, out: Path) -> Kill | None:
    """Go on with the run, and kill it; None where it ended before."""
    before = num_records(out)
    with subprocess.Popen(
        command(recipe, out, STAGE),
        env=environment(recipe),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        if moment.is_in_training:
            wait_for_step(process, out)
        try:
            process.wait(timeout=moment.delay_s)
            return None
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
    half_written = [path.name for path in out.glob(f"stages/{STAGE}-*/checkpoints/{HALF_WRITTEN}")]
    return Kill(moment, before, num_records(out), half_written, errors.splitlines())


def wait_for_step(process: subprocess.Popen[str], out: Path) -> None:
    """Return when this life has recorded a step: it replaces the file of records first, then adds to it."""
    before, kept = file_number(out), None
    while process.poll() is None:
        if kept is None and file_number(out) != before:
            kept = num_records(out)
        if kept is not None and num_records(out) > kept:
            return
        time.sleep(0.01)


def file_number(out: Path) -> list[int]:
    return [path.stat().st_ino for path in out.glob(f"stages/{STAGE}-*/{METRICS_FILE}")]


def stage_of(out: Path) -> Path:
    (directory,) = out.glob(f"stages/{STAGE}-*")
    return directory


def num_records(out: Path) -> int:
    return sum(len(read_metrics(directory)) for directory in out.glob(f"stages/{STAGE}-*"))


def curve(out: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "tokens_per_s"} for line in read_metrics(stage_of(out))]


if __name__ == "__main__":
    main()
