"""Distillation with the teacher asked in every step, and with its choices written once: which is faster?

    python bench/distill.py runs/distill --json bench/results/distill.json

The quickstart's stage, both ways in turn, on the same pruned model and teacher. Wall time is what a user waits, with
compilation and, where written, the teacher's pass over all batches; tokens a second are those of the steps alone.
"""

import argparse
import json
import shutil
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from codling.artifact.stage import Artifact
from codling.pretrain.distill import TeacherTargets
from codling.progress import build_reporter
from codling.recipes.build import build
from codling.recipes.quickstart import quickstart
from codling.train.host import prepare_host


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    prepare_host()
    runs: dict[TeacherTargets, list[dict[str, Any]]] = {targets: [] for targets in TeacherTargets}
    with build_reporter(Console(highlight=False)) as reporter:
        for number in range(arguments.rounds):
            for targets in list(TeacherTargets)[:: 1 if number % 2 else -1]:
                distill = replace(quickstart().device_distill, teacher_targets=targets)
                recipe = replace(quickstart(), device_distill=distill)
                done = build(recipe, arguments.out, until="device_distill", reporter=reporter)["device_distill"]
                runs[targets].append(figures(done))
                shutil.rmtree(done.path)
    found = {
        targets: {name: statistics.median(run[name] for run in of_targets) for name in of_targets[0]}
        for targets, of_targets in runs.items()
    }
    arguments.json.write_text(json.dumps({"medians": found, "runs": runs}, indent=1) + "\n")
    for name, medians in found.items():
        print(f"{name:8} " + "  ".join(f"{figure} {value:,.4f}" for figure, value in medians.items()))


def figures(artifact: Artifact) -> dict[str, Any]:
    """What the stage took, and what came out."""
    lines = (artifact.path / "metrics.jsonl").read_text().splitlines()
    # The first record holds the compilation.
    speeds = [json.loads(line)["tokens_per_s"] for line in lines[1:]]
    return {
        "wall_s": artifact.manifest.wall_time_s,
        "tokens_per_s": statistics.median(speeds),
        "nll": artifact.manifest.metrics["heldout_after"]["nll"],
    }


if __name__ == "__main__":
    main()
