"""Does one learning rate fit all widths? The best rate at widths 128, 256 and 512, with mu-P (simple) and without.

    python bench/mup.py runs/mup --json bench/results/mup.json --plot bench/results/mup.svg

The base width is 128, so that there both are the same run. AdaStar, two layers, the quickstart's text and tokenizer.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
from rich.console import Console

from codling.artifact.stage import Artifact, Stage, run_stage
from codling.artifact.workspace import Reporter
from codling.pretrain.core import CoreConfig, run_core
from codling.progress import build_reporter
from codling.recipes.build import build
from codling.recipes.quickstart import quickstart
from codling.train.adastar import AdaStarConfig
from codling.train.host import prepare_host

BASE, WIDTHS = 128, (128, 256, 512)
RATES = (0.0025, 0.005, 0.01, 0.02, 0.04)
NUM_LAYERS, HEAD_DIM = 2, 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--plot", type=Path, required=True)
    arguments = parser.parse_args()
    prepare_host()
    runs: list[dict[str, Any]] = []
    with build_reporter(Console(highlight=False)) as reporter:
        tokens = build(quickstart(), arguments.out, until="tokens", reporter=reporter)["tokens"]
        for seed in arguments.seeds:
            for width in WIDTHS:
                for base in (None, BASE):
                    if base == width:
                        runs += [run | {"mup": True} for run in runs if run["width"] == width and run["seed"] == seed]
                        continue
                    runs += [
                        measure(tokens, arguments.out, width, rate, base, seed, arguments.steps, reporter)
                        for rate in RATES
                    ]
    best = {
        f"width {width}, {'with' if mup else 'without'} mu-P": best_rate(runs, width, mup)
        for mup in (False, True)
        for width in WIDTHS
    }
    arguments.json.write_text(json.dumps({"best_rate": best, "runs": runs}, indent=1) + "\n")
    plot(runs, arguments.plot)
    for name, rate in best.items():
        print(f"{name:28} best rate {rate}")


def measure(
    tokens: Artifact,
    out: Path,
    width: int,
    rate: float,
    base: int | None,
    seed: int,
    num_steps: int,
    reporter: Reporter,
) -> dict[str, Any]:
    """Train one model and measure its held-out loss."""
    recipe = quickstart()
    num_heads = width // HEAD_DIM
    model = replace(
        recipe.server_model,
        model_dim=width,
        ffn_dim=2 * width,
        num_layers=NUM_LAYERS,
        num_query_heads=num_heads,
        num_kv_heads=num_heads // 2,
    )
    loop = recipe.server_core.loop
    schedule = replace(loop.optimizer.schedule, peak_rate=rate, warmup_steps=num_steps // 10)
    optimizer = replace(loop.optimizer, schedule=schedule, rule=AdaStarConfig(mup_base_model_dim=base))
    text = replace(recipe.server_core, loop=replace(loop, num_steps=num_steps, optimizer=optimizer))
    stage = Stage("mup", "model", 1, CoreConfig(model=model, text=text), {}, run_core)
    artifact = run_stage(stage, {"tokens": tokens}, out / "stages", seed, reporter)
    nll = artifact.manifest.metrics["heldout_after"]["nll"]
    return {"width": width, "mup": base is not None, "rate": rate, "seed": seed, "nll": nll}


def mean_nll(runs: list[dict[str, Any]], width: int, mup: bool, rate: float) -> float:
    """Over the seeds."""
    values = [run["nll"] for run in runs if (run["width"], run["mup"], run["rate"]) == (width, mup, rate)]
    return float(sum(values) / len(values))


def best_rate(runs: list[dict[str, Any]], width: int, mup: bool) -> float:
    """The rate of least mean loss."""
    return min(RATES, key=lambda rate: mean_nll(runs, width, mup, rate))


def plot(runs: list[dict[str, Any]], path: Path) -> None:
    """Loss over rate, a line a width; with and without mu-P side by side."""
    mpl.use("svg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for axis, mup in zip(axes, (False, True), strict=True):
        for width in WIDTHS:
            losses = [mean_nll(runs, width, mup, rate) for rate in RATES]
            axis.plot(RATES, losses, marker="o", label=f"width {width}")
            best = losses.index(min(losses))
            axis.plot(RATES[best], losses[best], marker="*", markersize=14, color=axis.lines[-1].get_color())
        axis.set(xscale="log", xlabel="peak learning rate", title="with mu-P (simple)" if mup else "without mu-P")
        axis.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("held-out loss, nats a token")
    axes[0].legend()
    figure.savefig(path)


if __name__ == "__main__":
    main()
