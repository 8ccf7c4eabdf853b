"""Are the shares of the fine-tuning mixture better after a search, on data that the search has not seen?

    python bench/mixture.py runs/quickstart --json bench/results/mixture.json

Perturbs the quickstart's fine-tuning mixture, evaluates each by a short fine-tuning of its server model, and moves. As
the score of a search is flattered by its noise, start and end are then fine-tuned anew under other seeds, at the length
of a trial, and their difference is told with its spread. What is built is kept in the directory, and a bench that was
killed goes on.
"""

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import Console

from codling.artifact.stage import Artifact, Stage, run_stage
from codling.data.mixture import MixtureWeights
from codling.posttrain.mixture_search import MixtureSearchConfig
from codling.posttrain.mixture_trials import MixtureTrialsConfig, run_mixture_search
from codling.posttrain.sft import SftConfig, run_sft
from codling.progress import build_reporter
from codling.recipes.build import STAGES_DIRECTORY, BuildReporter, build
from codling.recipes.quickstart import quickstart
from codling.train.host import prepare_host

START_MODEL = "server_long_context"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="directory of a quickstart; what it lacks is built")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--trials", type=int, default=8, help="of a round")
    parser.add_argument("--steps", type=int, default=300, help="of a trial")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="for the second look at start and end")
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    prepare_host()
    recipe, store = quickstart(), arguments.run / STAGES_DIRECTORY
    with build_reporter(Console(highlight=False)) as reporter:
        done = build(recipe, arguments.run, until=START_MODEL, reporter=reporter)
        inputs = {"tokens": done["tokens"], "model": done[START_MODEL]}
        config = MixtureTrialsConfig(
            sft=shortened(recipe.server_sft, arguments.steps),
            search=MixtureSearchConfig(num_rounds=arguments.rounds, num_trials=arguments.trials),
        )
        stage = Stage("mixture_search", "mixture", 1, config, {}, run_mixture_search)
        reporter.stage_started(stage.name, 1, 2)
        search = run_stage(stage, inputs, store, recipe.seed, reporter)
        found = search.manifest.metrics
        reporter.stage_started("mixture_check", 2, 2)
        by_seed = {seed: look_again(config.sft, found, inputs, store, seed, reporter) for seed in arguments.seeds}
    report = {
        "search": found,
        "trials": [json.loads(line) for line in (search.path / "trials.jsonl").read_text().splitlines()],
        "by_seed": by_seed,
        "gain": summary([figures["end"] - figures["start"] for figures in by_seed.values()]),
        "commit": search.manifest.commit,
        "hardware": search.manifest.hardware,
        "seconds": search.manifest.wall_time_s,
    }
    arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({key: report[key] for key in ("search", "by_seed", "gain")}, indent=1))


def shortened(sft: SftConfig, num_steps: int) -> SftConfig:
    """The same fine-tuning in fewer steps, its warm-up in proportion."""
    schedule = sft.loop.optimizer.schedule
    warmup_steps = math.ceil(schedule.warmup_steps * num_steps / sft.loop.num_steps)
    optimizer = replace(sft.loop.optimizer, schedule=replace(schedule, warmup_steps=warmup_steps))
    return replace(sft, loop=replace(sft.loop, num_steps=num_steps, optimizer=optimizer))


def look_again(
    sft: SftConfig,
    found: Mapping[str, Any],
    inputs: Mapping[str, Artifact],
    store: Path,
    seed: int,
    reporter: BuildReporter,
) -> dict[str, float]:
    """The scores of the mixtures at start and end of the search under another seed: other data in another order."""
    scores = {}
    for name, shares in (("start", found["start_share_by_kind"]), ("end", found["best_share_by_kind"])):
        config = replace(sft, mixture=MixtureWeights(share_by_kind=shares))
        stage = Stage("mixture_check", "model", 1, config, {}, run_sft)
        metrics = run_stage(stage, inputs, store, seed, reporter).manifest.metrics
        scores[name] = -metrics["heldout_after"]["nll_skills"]
    return scores


def summary(values: list[float]) -> dict[str, float]:
    """Mean and standard deviation over the seeds."""
    return {"mean": mean(values), "sd": stdev(values) if len(values) > 1 else 0.0}


if __name__ == "__main__":
    main()
