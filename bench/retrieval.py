"""What a build measured of facts found by length and depth, as one row of raw numbers.

codling build quickstart --until server_long_context --out runs/q
codling build quickstart --until device_long_context --out runs/q
python bench/retrieval.py runs/q --what "the quickstart" --json bench/results/retrieval.json
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from codling.artifact.manifest import read_manifest

SIDES = ("server", "device")
KEPT = ("num_tokens", "retrieval_before", "retrieval_after")


def read_side(build: Path, side: str) -> dict[str, Any]:
    """Continued training and context-lengthening of one model. Leaves where the build has not got there."""
    stages: dict[str, Any] = {}
    for name in (f"{side}_continued", f"{side}_long_context"):
        found = sorted((build / "stages").glob(f"{name}-*/manifest.json"), key=lambda path: path.stat().st_mtime)
        if not found:
            raise SystemExit(f"{build}: no finished stage {name}")
        manifest = asdict(read_manifest(found[-1].parent))
        metrics = manifest["metrics"]
        stages[name] = {key: manifest[key] for key in ("id", "commit", "started", "wall_time_s", "seed")}
        stages[name] |= {key: metrics[key] for key in KEPT if key in metrics}
        stages[name] |= {f"nll_{when}": metrics[f"heldout_{when}"]["nll"] for when in ("before", "after")}
    return {"hardware": manifest["hardware"], "libraries": manifest["libraries"], "stages": stages}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("--what", required=True, help="what was built, in words")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--json", type=Path, required=True, help="file that the row is added to")
    arguments = parser.parse_args()
    rows = json.loads(arguments.json.read_text()) if arguments.json.exists() else []
    rows.append({"what": arguments.what} | {side: read_side(arguments.build, side) for side in arguments.sides})
    arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
