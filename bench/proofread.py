"""At what size and on how many fine-tuning tokens does proofreading begin to work?

    python bench/proofread.py runs/proofread --size 128x4 --steps 1000 2000 4000 --json bench/results/proofread.json

Each budget is a stage of its own with its whole schedule, on the same pre-trained model; what is built is kept in the
directory, so that more budgets can follow. `copy` is the share of held-out sentences that copying alone gets right.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from codling.artifact.model_files import load_model
from codling.data.conversations import build_skill
from codling.data.mixture import MixtureWeights
from codling.evaluate.skills import skill_figures
from codling.model.count import count_parameters
from codling.progress import build_reporter
from codling.recipes.build import build
from codling.recipes.quickstart import quickstart, sft
from codling.recipes.recipe import Recipe
from codling.tokenizer.encode import Tokenizer
from codling.train.host import prepare_host
from codling.train.schedule import Decay

MIXTURE = MixtureWeights(share_by_kind={"proofread": 0.75, "tool_calls": 0.15, "stories": 0.1})
NUM_HELDOUT = 200
MAX_ANSWER_TOKENS = 64


def recipe_for(size: str, num_steps: int) -> Recipe:
    """The quickstart with another server, WIDTHxLAYERS, and proofreading in its fine-tuning."""
    base, (width, num_layers) = quickstart(), map(int, size.split("x"))
    model = replace(
        base.server_model, model_dim=width, ffn_dim=4 * width, num_layers=num_layers, num_query_heads=width // 32
    )
    conversations = replace(base.conversations, num_train_by_skill={"tool_calls": 12_000, "proofread": 60_000})
    return replace(
        base,
        server_model=model,
        conversations=conversations,
        server_sft=replace(sft(num_steps, 4e-3 * (128 / width), Decay.COSINE), mixture=MIXTURE),
        device_sft=replace(base.device_sft, mixture=MIXTURE),
        device_recover=replace(base.device_recover, mixture=MIXTURE),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", required=True, help="WIDTHxLAYERS of the server, such as 128x4")
    parser.add_argument("--steps", type=int, nargs="+", required=True)
    parser.add_argument("--json", type=Path, help="file that the figures are added to")
    arguments = parser.parse_args()
    prepare_host()
    for num_steps in arguments.steps:
        figures = measure(recipe_for(arguments.size, num_steps), arguments.out, arguments.size)
        print(json.dumps(figures))
        if arguments.json is not None:
            known = json.loads(arguments.json.read_text()) if arguments.json.exists() else []
            arguments.json.write_text(json.dumps([*known, figures], indent=1) + "\n")


def measure(recipe: Recipe, out: Path, size: str) -> dict[str, Any]:
    start_s = time.time()
    with build_reporter(Console(highlight=False)) as reporter:
        done = build(recipe, out, until="server_sft", reporter=reporter)
    skill = build_skill("proofread", recipe.conversations)
    heldout = skill.examples("heldout", NUM_HELDOUT, seed=1)
    model, tokenizer = load_model(done["server_sft"].path), Tokenizer.load(done["tokenizer"].path)
    scores = skill_figures(skill, heldout, model, tokenizer, max_answer_tokens=MAX_ANSWER_TOKENS)
    config = recipe.server_sft
    return {
        "size": size,
        "parameters": count_parameters(recipe.server_model).total,
        "sft_tokens": config.loop.num_steps * config.loop.batch_size_rows * config.sequence_length_tokens,
        "peak_rate": config.loop.optimizer.schedule.peak_rate,
        "exact": scores["exact"],
        "similarity": scores["partial"],
        "by_category": scores["by_category"],
        "baselines": skill.baselines(skill.examples("train", 100, seed=1), heldout),
        "seconds": time.time() - start_s,
        "seed": recipe.seed,
    }


if __name__ == "__main__":
    main()
