"""Does the learned mask keep better units than a rule does, at the same number of tokens?

    python bench/prune.py runs/prune --seeds 0 1 2 --json bench/results/prune.json

For each seed a parent is trained by the quickstart's recipe and pruned by every method to the quickstart's width. The
learned mask trains on the stage's tokens; a model that was cut without training reads the very same ones afterwards, in
the same order and at the same rates. Then all of them train on, alike. Held-out loss is measured after the cut, at
equal tokens, and at the end. What is built is kept in the directory.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console
from rich.table import Table

from codling.artifact.stage import Artifact, Stage, run_stage
from codling.artifact.workspace import Reporter
from codling.pretrain.continued import run_continued
from codling.pretrain.core import CoreConfig, run_core
from codling.pretrain.prune import MaskConfig, PruneConfig, run_prune
from codling.pretrain.text_stage import TextStageConfig
from codling.pretrain.unit_scores import Method
from codling.progress import build_reporter
from codling.recipes.build import STAGES_DIRECTORY, build
from codling.recipes.quickstart import CORE_MIXTURE, quickstart, text_stage
from codling.recipes.recipe import Recipe
from codling.train.host import prepare_host

ARMS: dict[str, dict[str, Any]] = {
    **{method.value: {"method": method} for method in Method},
    "soft_topk: mask alone": {"mask": MaskConfig(trains_weights=False)},
}
PEAK_RATE_AFTER = 2e-3
MOMENTS = ("after_cut", "at_equal_tokens", "at_end")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--parent-steps", type=int, help="instead of the quickstart's")
    parser.add_argument("--prune-steps", type=int, help="instead of the quickstart's")
    parser.add_argument("--steps-after", type=int, default=128, help="steps that all arms train on")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    prepare_host()
    recipe = shortened(quickstart(), arguments.parent_steps, arguments.prune_steps)
    rows: list[dict[str, Any]] = []
    with build_reporter(Console(highlight=False)) as reporter:
        tokens = build(recipe, arguments.out, until="tokens", reporter=reporter)["tokens"]
        store = arguments.out / STAGES_DIRECTORY
        for seed in arguments.seeds:
            config = CoreConfig(model=recipe.device_parent_model, text=seeded(recipe.device_parent_core, seed))
            core = Stage("prune_bench_parent", "model", 1, config, {}, run_core)
            parent = run_stage(core, {"tokens": tokens}, store, seed, reporter)
            for arm in ARMS:
                figures = measure(arm, recipe, seed, arguments.steps_after, tokens, parent, store, reporter)
                rows.append(figures)
                print(json.dumps(figures), flush=True)
                if arguments.json is not None:
                    arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    show(rows)


def shortened(recipe: Recipe, parent_steps: int | None, prune_steps: int | None) -> Recipe:
    """The recipe, perhaps with fewer steps."""

    def of(text: TextStageConfig, num_steps: int | None) -> TextStageConfig:
        return text if num_steps is None else replace(text, loop=replace(text.loop, num_steps=num_steps))

    return replace(
        recipe,
        device_parent_core=of(recipe.device_parent_core, parent_steps),
        device_prune=replace(recipe.device_prune, text=of(recipe.device_prune.text, prune_steps)),
    )


def seeded(text: TextStageConfig, seed: int) -> TextStageConfig:
    """The same stage with its documents in another order."""
    return replace(text, data_seed=text.data_seed + 100 * seed)


def measure(
    arm: str,
    recipe: Recipe,
    seed: int,
    steps_after: int,
    tokens: Artifact,
    parent: Artifact,
    store: Path,
    reporter: Reporter,
) -> dict[str, Any]:
    """One arm of one seed."""
    config: PruneConfig = replace(recipe.device_prune, text=seeded(recipe.device_prune.text, seed), **ARMS[arm])

    def train_on(model: Artifact, text: TextStageConfig) -> Artifact:
        stage = Stage("prune_bench_after", "model", 1, text, {}, run_continued)
        return run_stage(stage, {"tokens": tokens, "model": model}, store, seed, reporter)

    cut_stage = Stage("prune_bench_cut", "model", 1, config, {}, run_prune)
    cut = run_stage(cut_stage, {"tokens": tokens, "parent": parent}, store, seed, reporter)
    equal = cut if config.method is Method.SOFT_TOPK else train_on(cut, config.text)
    after = seeded(text_stage(steps_after, PEAK_RATE_AFTER, CORE_MIXTURE, warmup_steps=8, data_seed=6), seed)
    end = train_on(equal, after)
    figures = {moment: artifact.manifest.metrics for moment, artifact in zip(MOMENTS, (cut, equal, end), strict=True)}
    return {
        "arm": arm,
        "seed": seed,
        "parent": cut.manifest.metrics["heldout_before"]["nll"],
        "chosen_units_with_the_parents_weights": cut.manifest.metrics["heldout_chosen_units"]["nll"],
        **{moment: metrics["heldout_after"]["nll"] for moment, metrics in figures.items()},
        "accuracy_at_end": figures["at_end"]["heldout_after"]["accuracy"],
        "largest_mask_cut": cut.manifest.metrics.get("largest_mask_cut"),
        "prune_tokens": config.text.num_tokens,
        "tokens_after": after.num_tokens,
        "parent_tokens": recipe.device_parent_core.num_tokens,
        "seconds": {
            "cut": cut.manifest.wall_time_s,
            "equal": 0.0 if equal is cut else equal.manifest.wall_time_s,
            "end": end.manifest.wall_time_s,
        },
        "commit": cut.manifest.commit,
    }


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Mean over the seeds, and the seeds."""
    columns = ("chosen_units_with_the_parents_weights", *MOMENTS)
    table = Table("arm", *(column.replace("_", " ") for column in columns), box=None)
    for arm in ARMS:
        mine = [row for row in rows if row["arm"] == arm]
        table.add_row(
            arm,
            *(f"{mean(row[c] for row in mine):.4f} ({', '.join(f'{row[c]:.3f}' for row in mine)})" for c in columns),
        )
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
