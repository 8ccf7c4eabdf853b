"""The report's claims about pre-training, at a size that two cores can train: three seeds, means and spread.

    python bench/claims.py runs/claims --json bench/results/claims.json

Start and target: the device model from its pruned parent or from random weights, with the teacher's choices or without,
on the same tokens; each then continued alike. Optimizer: AdaStar and AdamW from random weights, each at several rates.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from jaxtyping import PRNGKeyArray
from rich.console import Console

from codling.artifact.model_files import load_model, save_model
from codling.artifact.stage import Artifact, Inputs, Run, Stage, run_stage
from codling.artifact.workspace import Reporter, Workspace
from codling.data.prepare import open_corpus
from codling.model.config import ModelConfig
from codling.model.init import init_transformer
from codling.pretrain.continued import run_continued
from codling.pretrain.core import CoreConfig, run_core
from codling.pretrain.distill import run_distill
from codling.pretrain.text_stage import TextStageConfig, train_on_text
from codling.progress import build_reporter
from codling.recipes.build import build
from codling.recipes.quickstart import quickstart
from codling.recipes.recipe import Recipe
from codling.train.adamw import AdamWConfig
from codling.train.adastar import AdaStarConfig
from codling.train.host import prepare_host
from codling.train.optimizer import Rule

RULES: dict[str, Rule] = {
    "adamw": AdamWConfig(),
    "adastar": AdaStarConfig(),
}
RATES = (0.004, 0.008, 0.016)
FIGURES = ("nll", "accuracy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    prepare_host()
    by_seed: dict[int, dict[str, Any]] = {}
    with build_reporter(Console(highlight=False)) as reporter:
        for seed in arguments.seeds:
            recipe = replace(quickstart(), seed=seed)
            done = build(recipe, arguments.out, until="device_distill", reporter=reporter)
            store = arguments.out / "stages"
            by_seed[seed] = starts(recipe, done, store, reporter) | optimizers(recipe, done, store, reporter)
    arguments.json.write_text(json.dumps({"by_seed": by_seed, "summary": summary(by_seed)}, indent=1) + "\n")
    for name, figures in summary(by_seed).items():
        print(f"{name:44} " + "  ".join(f"{figure} {value:.4f}" for figure, value in figures.items()))


def starts(recipe: Recipe, done: Mapping[str, Artifact], store: Path, reporter: Reporter) -> dict[str, Any]:
    """Pruned or random, distilled or not, and each after the continued stage."""
    plain, tokens = recipe.device_distill.text, done["tokens"]
    fresh = Stage("claims_fresh", "model", 1, plain, {}, _run_fresh(recipe.device_model))
    models = {
        "random start": run_stage(fresh, {"tokens": tokens}, store, recipe.seed, reporter),
        "pruned start": done["device_prune"],
    }
    targets = {
        "": Stage("claims_plain", "model", 1, plain, {}, _run_plain),
        ", distilled": Stage("claims_distilled", "model", 1, recipe.device_distill, {}, run_distill),
    }
    found: dict[str, Any] = {}
    for name, (model, stage) in {
        start + target: (model, stage) for start, model in models.items() for target, stage in targets.items()
    }.items():
        inputs = {"tokens": tokens, "model": model, "teacher": done["server_core"]}
        artifact = run_stage(stage, inputs, store, recipe.seed, reporter)
        found[name] = _figures(artifact)
        then = Stage(f"{stage.name}_continued", "model", 1, recipe.device_continued, {}, run_continued)
        found[f"{name}, continued"] = _figures(
            run_stage(then, {"tokens": tokens, "model": artifact}, store, recipe.seed, reporter)
        )
    return found


def optimizers(recipe: Recipe, done: Mapping[str, Artifact], store: Path, reporter: Reporter) -> dict[str, Any]:
    """The device's shape from random weights, under each rule at each rate."""
    found: dict[str, Any] = {}
    for rule_name, rule in RULES.items():
        for rate in RATES:
            text = recipe.device_distill.text
            schedule = replace(text.loop.optimizer.schedule, peak_rate=rate)
            optimizer = replace(text.loop.optimizer, rule=rule, schedule=schedule)
            config = CoreConfig(
                model=recipe.device_model, text=replace(text, loop=replace(text.loop, optimizer=optimizer))
            )
            stage = Stage("claims_optimizer", "model", 1, config, {}, run_core)
            artifact = run_stage(stage, {"tokens": done["tokens"]}, store, recipe.seed, reporter)
            found[f"{rule_name} at {rate}"] = _figures(artifact)
    return found


def summary(by_seed: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds."""
    found: dict[str, Any] = {}
    for name in next(iter(by_seed.values())):
        found[name] = {}
        for figure in FIGURES:
            values = [figures[name][figure] for figures in by_seed.values()]
            found[name] |= {figure: mean(values), f"{figure}_sd": stdev(values) if len(values) > 1 else 0.0}
    return found


def _figures(artifact: Artifact) -> dict[str, float]:
    return {figure: artifact.manifest.metrics["heldout_after"][figure] for figure in FIGURES}


def _run_plain(config: TextStageConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    return train_on_text(config, load_model(inputs["model"].path), inputs, out, key)


def _run_fresh(model: ModelConfig) -> Run:
    """A stage that leaves random weights of a shape, for a stage that wants a model to start from."""

    def run(config: TextStageConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
        fresh = init_transformer(model, key)
        save_model(out.path, fresh, tokenizer_sha256=open_corpus(inputs["tokens"].path).tokenizer.sha256)
        return {}

    return run


if __name__ == "__main__":
    main()
