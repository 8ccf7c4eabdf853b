"""What the report claims of post-training, at a size that two cores can train: three families, three seeds.

    python bench/align.py runs/claims --json bench/results/align.json

Arithmetic in worked steps, short texts of a given form, tool calls; all of them checked. One fine-tuned server; a seed
draws everything after it. An interval is the 95% t-interval of the mean over seeds.

    rewards      hard labels, margins, soft labels, soft labels + gradings; and lambda
    objectives   MDLOO, PPO's clipping, GRPO, at equal samples, and at equal divergence from the start
    distillation RS on the best answers of a committee, and on as many of its best member alone
    rounds       one, two, three of them
"""

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray
from rich.console import Console

from codling.artifact.model_files import load_model
from codling.artifact.stage import Artifact, Inputs, Stage, run_stage
from codling.artifact.workspace import Workspace
from codling.committee.best_answers import run_best_answers
from codling.committee.committee import best_model, load_committee, member_path, save_committee
from codling.committee.draw_prompts import DrawPromptsConfig, task_prompt
from codling.committee.elect import ElectionConfig, FoundConfig, skill_scores
from codling.committee.label_by_checks import ChecksConfig
from codling.committee.label_noise import NoiseConfig
from codling.committee.label_pairs import LabelPairsConfig, run_label_pairs
from codling.committee.prompt_task import PromptTask, RewardWeights
from codling.committee.reward_stage import RewardStageConfig, read_labels, run_reward_model, split_pairs
from codling.committee.round import AlignmentConfig, RoundConfig, alignment_stages
from codling.committee.train_members import OnlineStageConfig, run_online, run_rejection_sampling
from codling.data.conversations import load_conversations
from codling.data.mixture import MixtureWeights
from codling.posttrain.objective import GrpoConfig, MdlooConfig, Objective, PpoConfig
from codling.posttrain.rejection_sampling import BEST_ANSWERS
from codling.posttrain.reward_files import load_reward_model
from codling.posttrain.reward_loss import Ranking, RewardLossConfig
from codling.posttrain.sft import SftConfig, run_sft
from codling.posttrain.train_rewards import reward_figures
from codling.progress import build_reporter
from codling.recipes.build import BuildReporter, build
from codling.recipes.quickstart import SHORT_BATCH_ROWS, loop, quickstart, sft
from codling.recipes.recipe import Recipe
from codling.recipes.rounds import laptop_round
from codling.tokenizer.encode import Tokenizer
from codling.train.host import prepare_host
from codling.train.metrics import METRICS_FILE
from codling.train.schedule import Decay

SFT_STEPS = 1600
MIXTURE = MixtureWeights(share_by_kind={"tool_calls": 0.34, "arithmetic": 0.33, "formats": 0.25, "stories": 0.08})
RS_MIXTURE = MixtureWeights(
    share_by_kind={"tool_calls": 0.17, "arithmetic": 0.165, "formats": 0.125, "stories": 0.04, BEST_ANSWERS: 0.5}
)
NUM_ROUNDS = 3
LOSSES = {
    "hard labels": RewardLossConfig(ranking=Ranking.HARD, grading_weight=0.0),
    "margin": RewardLossConfig(ranking=Ranking.MARGIN, grading_weight=0.0),
    "soft labels": RewardLossConfig(ranking=Ranking.SOFT, grading_weight=0.0),
    "soft labels + gradings, 0.03": RewardLossConfig(grading_weight=0.03),
    "soft labels + gradings, 0.1": RewardLossConfig(grading_weight=0.1),
    "soft labels + gradings, 0.3": RewardLossConfig(grading_weight=0.3),
    "soft labels + gradings, 1": RewardLossConfig(grading_weight=1.0),
}
OBJECTIVES: dict[str, Objective] = {"MDLOO": MdlooConfig(), "PPO clipping": PpoConfig(), "GRPO": GrpoConfig()}
COMMON_KL = 0.15
"""Nats an answer from the reference, at which objectives are compared: about what all of them reach."""
HELDOUT_SHARE = 0.3
"""Of the prompts whose pairs the reward models compared do not see."""
T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Two-sided 95% quantiles of Student's t, by the number of seeds."""
PARTS = ("rewards", "objectives", "distillation", "rounds")


class Bench(NamedTuple):
    """Where the stages are and how they are run."""

    recipe: Recipe
    done: Mapping[str, Artifact]
    store: Path
    seed: int
    reporter: BuildReporter

    def run(self, stage: Stage, **inputs: Artifact) -> Artifact:
        """Run a stage, or take what it left."""
        self.reporter.stage_started(f"{stage.name} (seed {self.seed})", 1, 1)
        return run_stage(stage, inputs, self.store, self.seed, self.reporter)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    prepare_host()
    found: dict[str, dict[int, dict[str, Any]]] = {part: {} for part in arguments.parts}
    with build_reporter(Console(highlight=False)) as reporter:
        recipe = claims_recipe()
        done = build(recipe, arguments.out, until="server_sft", reporter=reporter)
        for seed in arguments.seeds:
            bench = Bench(recipe, dict(done), arguments.out / "stages", seed, reporter)
            rounds = run_rounds(bench)
            for part in arguments.parts:
                found[part][seed] = MEASURES[part](bench, rounds)
            # Every compiled program takes memory maps, of which Linux gives a process 65,530.
            jax.clear_caches()  # type: ignore[no-untyped-call]
    summary = {part: summarize(by_seed) for part, by_seed in found.items()}
    arguments.json.write_text(json.dumps({"by_seed": found, "summary": summary}, indent=1) + "\n", encoding="utf-8")
    for part, figures in summary.items():
        print(f"\n{part}")
        for name, values in figures.items():
            told = "  ".join(
                f"{figure} {value['mean']:.3f} ±{value['interval']:.3f}" for figure, value in values.items()
            )
            print(f"  {name:34} {told}")


def claims_recipe() -> Recipe:
    """The quickstart's server on the three families, with rounds of its own."""
    recipe = quickstart()
    counts = {"tool_calls": 8_000, "arithmetic": 8_000, "formats": 6_000}
    conversations = replace(recipe.conversations, num_train_by_skill=counts, num_heldout=200)
    one = claims_round()
    return replace(
        recipe,
        name="claims",
        conversations=conversations,
        server_sft=claims_sft(),
        device_sft=claims_sft(),
        device_recover=replace(recipe.device_recover, mixture=MIXTURE),
        alignment=AlignmentConfig(
            prompts=DrawPromptsConfig(
                num_train_by_skill={"tool_calls": 1_500, "arithmetic": 1_500, "formats": 1_500},
                num_validation=200,
            ),
            server_rounds=(one,) * NUM_ROUNDS,
        ),
    )


def claims_sft() -> SftConfig:
    """At a rate that falls: whatever a round gains is then not the fall of its own rate."""
    return replace(sft(SFT_STEPS, 4e-3, Decay.COSINE), mixture=MIXTURE)


def claims_round() -> RoundConfig:
    """A small round, whose annotator errs as often as a label's level says."""
    one = laptop_round(
        RS_MIXTURE,
        loop(200, 1e-3, SHORT_BATCH_ROWS, warmup_steps=20),
        num_pair_prompts=600,
        num_best_prompts=600,
        num_preference_steps=60,
        num_online_iterations=12,
        row_length_tokens=256,
    )
    return replace(one, labels=LabelPairsConfig(labeler=ChecksConfig(noise=NoiseConfig())), ipo=None)


def run_rounds(bench: Bench) -> dict[str, Artifact]:
    """All rounds, by stage."""
    found = dict(bench.done)
    for stage in alignment_stages(bench.recipe.alignment, bench.recipe.conversations):
        if not stage.name.startswith("device"):
            found[stage.name] = bench.run(stage, **{role: found[name] for role, name in stage.inputs.items()})
    return found


def rewards(bench: Bench, rounds: Mapping[str, Artifact]) -> dict[str, Any]:
    """Each loss on the labels of an annotator who errs: accuracy on held-out pairs by the true labels, calibration by
    the annotator's own.
    """
    one = bench.recipe.alignment.server_rounds[0]
    labels = {f"labels_{number}": rounds[f"server_round{number}_labels"] for number in range(1, NUM_ROUNDS + 1)}
    truth = Stage("claims_truth", "preferences", 1, LabelPairsConfig(), {}, run_label_pairs)
    true = {
        f"labels_{number}": bench.run(truth, pairs=rounds[f"server_round{number}_pairs"])
        for number in range(1, NUM_ROUNDS + 1)
    }
    tokenizer = Tokenizer.load(rounds["tokenizer"].path)
    found = {}
    for name, loss in LOSSES.items():
        config = RewardStageConfig(training=replace(one.rewards.training, loss=loss), heldout_share=HELDOUT_SHARE)
        stage = Stage("claims_rewards", "reward_model", 1, config, {}, run_reward_model)
        artifact = bench.run(stage, model=rounds["server_sft"], tokenizer=rounds["tokenizer"], **labels)
        _, pairs = split_pairs(read_labels(true), HELDOUT_SHARE)
        figures = reward_figures(config.training, load_reward_model(artifact.path), pairs, tokenizer)
        graded = figures["grading_accuracy"] if loss.grading_weight else {}
        found[name] = {
            "accuracy": figures["accuracy"],
            **figures["accuracy_by_level"],
            "calibration error": artifact.manifest.metrics["after"]["calibration_error"],
            **{f"grade of {aspect}": value for aspect, value in graded.items()},
        }
    return found


def objectives(bench: Bench, rounds: Mapping[str, Artifact]) -> dict[str, Any]:
    """The same start, samples and rewards under each objective, by checks alone."""
    mdloo = bench.recipe.alignment.server_rounds[0].mdloo
    assert mdloo is not None
    found = {"start": scores(rounds, rounds["server_round1_rs"].path)}
    curves = {}
    for name, objective in OBJECTIVES.items():
        # The reference's price is in the rewards, or, for GRPO, in its loss.
        beta = 0.0 if isinstance(objective, GrpoConfig) else mdloo.training.beta
        training = replace(mdloo.training, objective=objective, beta=beta, num_iterations=12, num_epochs=2)
        config = OnlineStageConfig(training=training, rewards=RewardWeights())
        stage = Stage("claims_online", "model", 1, config, {}, run_online)
        artifact = bench.run(
            stage,
            start=rounds["server_round1_rs"],
            prompts=rounds["task_prompts"],
            reward_model=rounds["server_round1_rewards"],
            tokenizer=rounds["tokenizer"],
        )
        last = artifact.manifest.metrics["last"]
        kl = last["kl_to_reference_sampled"]
        gain = last["reward"] - artifact.manifest.metrics["first"]["reward"]
        found[name] = scores(rounds, artifact.path) | {
            "sampled reward": last["reward"],
            "kl": kl,
            "reward gained a nat": gain / max(kl, 1e-3),
        }
        lines = (artifact.path / METRICS_FILE).read_text(encoding="utf-8").splitlines()
        curves[name] = [json.loads(line) for line in lines]
    for name, reward in rewards_at_equal_kl(curves).items():
        found[name][f"reward at {COMMON_KL} nats, above the mean of all"] = reward
    return found


def rewards_at_equal_kl(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, float]:
    """Each objective's reward at `COMMON_KL` nats an answer from the reference, above their mean.

    All samples of an iteration answer the same prompts, whose difficulty differs far more than the objectives do. So
    the rewards are fitted by (effect of the iteration) + slope of the objective * sqrt(KL), as reward grows with the
    root of the divergence (arXiv 2204.05862, section 4.3).
    """
    names = list(curves)
    num_iterations = min(map(len, curves.values()))
    rows, values = [], []
    for number, name in enumerate(names):
        for iteration in range(num_iterations):
            record = curves[name][iteration]
            row = np.zeros(num_iterations + len(names))
            row[iteration] = 1.0
            row[num_iterations + number] = math.sqrt(max(0.0, record["kl_to_reference_sampled"]))
            rows.append(row)
            values.append(record["reward"])
    fitted = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    slopes = fitted[num_iterations:]
    return dict(zip(names, ((slopes - slopes.mean()) * math.sqrt(COMMON_KL)).tolist(), strict=True))


def distillation(bench: Bench, rounds: Mapping[str, Artifact]) -> dict[str, Any]:
    """The committee after the first round against its best member alone: equal prompts, answers and steps."""
    committee = rounds["server_round1_committee"]
    one = bench.recipe.alignment.server_rounds[0]
    alone = bench.run(
        Stage("claims_alone", "committee", 1, FoundConfig(side="server"), {}, _run_alone), committee=committee
    )
    num_members = len(load_committee(committee.path).members)
    found = {"start": scores(rounds, best_model(committee))}
    for name, who, times in (("committee", committee, 1), ("best member alone", alone, num_members)):
        rollout = one.best_answers.rollout
        asked = replace(rollout, num_answers=rollout.num_answers * times)
        config = replace(one.best_answers, rollout=asked)
        shared = {"prompts": rounds["task_prompts"], "tokenizer": rounds["tokenizer"]}
        best = bench.run(
            Stage("claims_best", "demonstrations", 1, config, {}, run_best_answers),
            committee=who,
            reward_model=rounds["server_round1_rewards"],
            **shared,
        )
        taught = bench.run(
            Stage("claims_taught", "model", 1, one.rejection_sampling, {}, run_rejection_sampling),
            start=committee,
            demonstrations=best,
            tokens=rounds["tokens"],
        )
        figures = best.manifest.metrics
        answered = figures["num_demonstrations"] / figures["num_prompts"]
        found[name] = scores(rounds, taught.path) | {"prompts answered well": answered}
    return found


def rounds_alone(bench: Bench, rounds: Mapping[str, Artifact]) -> dict[str, Any]:
    """The best of the committee after each round."""
    found = {
        "fine-tuned": scores(rounds, rounds["server_sft"].path),
        "control: RS's steps, no answers": scores(rounds, _control(bench, rounds).path),
    }
    for number in range(1, NUM_ROUNDS + 1):
        committee = rounds[f"server_round{number}_committee"]
        found[f"after round {number}"] = scores(rounds, best_model(committee))
        for method in ("rs", "dpo", "mdloo"):
            found[f"round {number}, {method}"] = scores(rounds, rounds[f"server_round{number}_{method}"].path)
    return found


def _control(bench: Bench, rounds: Mapping[str, Artifact]) -> Artifact:
    """As many steps as RS has, at its rate, on demonstrations alone: what more training would have given anyway."""
    taught = bench.recipe.alignment.server_rounds[0].rejection_sampling
    config = replace(bench.recipe.server_sft, loop=taught.loop)
    stage = Stage("claims_control", "model", 1, config, {}, run_sft)
    return bench.run(stage, model=rounds["server_sft"], tokens=rounds["tokens"])


MEASURES: dict[str, Callable[[Bench, Mapping[str, Artifact]], dict[str, Any]]] = {
    "rewards": rewards,
    "objectives": objectives,
    "distillation": distillation,
    "rounds": rounds_alone,
}


def scores(rounds: Mapping[str, Artifact], model: Path) -> dict[str, float]:
    """Share of right greedy answers to held-out conversations, by family and over all."""
    task = heldout_task(rounds)
    by_skill = skill_scores(load_model(model), task, ElectionConfig(side="server", round=1).max_answer_tokens)
    found = {name: float(score.correct or 0.0) for name, score in by_skill.items()}
    return {"all": mean(found.values())} | found


def heldout_task(rounds: Mapping[str, Artifact]) -> PromptTask:
    """The held-out conversations as prompts: none of them was ever trained on or elected by."""
    examples = load_conversations(rounds["conversations"].path, "heldout")
    prompts = [task_prompt(example) for found in examples.values() for example in found]
    return PromptTask(prompts, Tokenizer.load(rounds["tokenizer"].path), RewardWeights())


def summarize(by_seed: Mapping[int, Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """Mean over the seeds and half its interval, of every figure of every variant."""
    found: dict[str, Any] = {}
    for name, figures in next(iter(by_seed.values())).items():
        found[name] = {}
        for figure in figures:
            values = [float(variants[name][figure]) for variants in by_seed.values() if figure in variants[name]]
            spread = stdev(values) if len(values) > 1 else math.nan
            interval = T_95.get(len(values), 1.96) * spread / math.sqrt(len(values))
            found[name][figure] = {"mean": mean(values), "interval": interval, "values": values}
    return found


def _run_alone(config: FoundConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """A committee of the best member alone."""
    committee = load_committee(inputs["committee"].path)
    alone = replace(committee.best, elected_in=(committee.round,))
    others = [replace(one, elected_in=()) for one in committee.candidates if one.name != alone.name]
    paths = {alone.name: member_path(inputs["committee"].path, alone.name)}
    save_committee(out.path, replace(committee, candidates=(alone, *others)), paths)
    return {"members": [alone.name]}


if __name__ == "__main__":
    main()
