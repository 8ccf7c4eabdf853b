"""What a finished quickstart took and what came out, as one record.

time make quickstart
python bench/quickstart.py runs/quickstart --command-seconds 640 --json bench/results/quickstart-2026-11-23.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

from codling.artifact.stage import load_artifact
from codling.evaluate.measure import MEASUREMENTS_FILE

COMMAND_GOAL_S, RECIPE_GOAL_S = 1200, 1140


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("--command-seconds", type=float, required=True)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    found = record(arguments.build, arguments.command_seconds)
    arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    for figure in found["figures"]:
        print(f"{figure['name']:16} {figure['value']:7.0f} {figure['unit']}  goal {figure['goal']}")
    for name, skills in found["skills"].items():
        print(f"{name:24}" + "  ".join(f"{skill} {figures['exact']:.1%}" for skill, figures in skills.items()))


def record(build: Path, command_seconds: float) -> dict[str, Any]:
    """Times and figures of every stage, and the skills of the finished bundles."""
    artifacts = {
        artifact.manifest.stage: artifact for artifact in map(load_artifact, sorted((build / "stages").iterdir()))
    }
    manifests = {name: artifact.manifest for name, artifact in artifacts.items()}
    recipe_seconds = sum(manifest.wall_time_s for manifest in manifests.values())
    measured = json.loads((artifacts["measure"].path / MEASUREMENTS_FILE).read_text())
    report = manifests["report"]
    return {
        "what": "make quickstart in a fresh clone, nothing installed before but Python; packages downloaded, no cache",
        "command": "make quickstart",
        "commit": report.commit,
        "date": report.started[:10],
        "seed": report.seed,
        "hardware": report.hardware,
        "libraries": report.libraries,
        "figures": [
            figure("whole command", command_seconds, COMMAND_GOAL_S),
            figure("recipe", recipe_seconds, RECIPE_GOAL_S),
        ],
        "skills": {
            name: {
                skill: {key: value for key, value in scores.items() if key != "answers"}
                for skill, scores in values["skills"].items()
            }
            for name, values in measured.items()
            if name != "adapters"
        },
        "adapters": {
            name: {key: value for key, value in figures.items() if key != "examples"}
            for name, figures in measured["adapters"].items()
        },
        "swap_ms": manifests["measure"].metrics["swap_ms"],
        "baselines": {
            skill: values["baselines"] for skill, values in manifests["conversations"].metrics["skills"].items()
        },
        "stages": {
            name: {"seconds": manifest.wall_time_s, "metrics": manifest.metrics} for name, manifest in manifests.items()
        },
    }


def figure(name: str, seconds: float, goal_s: float) -> dict[str, Any]:
    """One time beside its goal."""
    return {"name": name, "value": seconds, "unit": "s", "goal": f"<= {goal_s}", "met": seconds <= goal_s}


if __name__ == "__main__":
    main()
