"""The model that compression is measured on: larger than the quickstart's server, of widths that 256 divides.

    python bench/compress_model.py runs/compress

Trained on the quickstart's four kinds of text alone, in proportion to how much there is of each, for about three
epochs: 6.8M parameters, a quarter of an hour on two cores. Leaves `runs/compress/bundle`, and beside it the texts that
`codling bench compress` wants, calibration.jsonl and heldout.jsonl; goes on where it was.
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from codling.artifact.stage import Stage, run_stage
from codling.data.mixture import MixtureWeights
from codling.data.sources import load_corpus
from codling.model.config import ModelConfig
from codling.ondevice.package import BundleConfig, run_server_bundle
from codling.progress import build_reporter
from codling.recipes.build import build
from codling.recipes.quickstart import loop, quickstart
from codling.recipes.recipe import Recipe
from codling.train.host import prepare_host

NUM_STEPS, BATCH_ROWS = 2200, 8
KINDS = {"stories": 0.42, "tales": 0.28, "textbooks": 0.17, "guides": 0.13}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    out: Path = arguments.out
    prepare_host()
    recipe = compress_recipe()
    with build_reporter(Console(highlight=False)) as reporter:
        done = build(recipe, out, until="server_core", reporter=reporter)
        roles = {"model": "server_core", "tokenizer": "tokenizer"}
        stage = Stage("server", "bundle", 1, BundleConfig(), roles, run_server_bundle)
        inputs = {role: done[name] for role, name in roles.items()}
        bundle = run_stage(stage, inputs, out / "stages", recipe.seed, reporter)
    link = out / "bundle"
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.relpath(bundle.path, out))
    for name, split in (("calibration", "train"), ("heldout", "heldout")):
        corpus = load_corpus(recipe.corpus, "train" if split == "train" else "heldout")
        lines = [json.dumps({"text": text}) for kind in KINDS for text in corpus[kind]]
        (out / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{link}: held-out loss {done['server_core'].manifest.metrics['heldout_after']['nll']:.3f}")


def compress_recipe() -> Recipe:
    """The quickstart with another server."""
    recipe = quickstart()
    shape = ModelConfig(
        vocab_size=recipe.tokenizer.vocab_size,
        model_dim=256,
        ffn_dim=768,
        num_layers=8,
        num_query_heads=4,
        num_kv_heads=2,
        head_dim=64,
        context_length_tokens=256,
    )
    core = replace(
        recipe.server_core,
        loop=loop(NUM_STEPS, 3e-3, BATCH_ROWS, warmup_steps=100),
        mixture=MixtureWeights(share_by_kind=KINDS),
    )
    return replace(recipe, name="compress", server_model=shape, server_core=core)


if __name__ == "__main__":
    main()
