"""The stages that train a round's new models; each starts from the round's start and leaves a model."""

import math
from typing import Any

from jaxtyping import PRNGKeyArray

from codling.artifact.model_files import load_model, save_model, tokenizer_of
from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.committee.best_answers import DEMONSTRATIONS_FILE
from codling.committee.committee import best_model
from codling.committee.draw_prompts import TRAIN_FILE
from codling.committee.prompt_task import PromptTask, RewardWeights, encode_prompt
from codling.committee.reward_stage import read_labels
from codling.committee.sampled_answers import room_for
from codling.committee.task_prompts import read_task_prompts
from codling.config import config
from codling.posttrain.demonstrations import read_demonstrations
from codling.posttrain.online import OnlineConfig, train_online
from codling.posttrain.pair_data import lay_out
from codling.posttrain.rejection_sampling import RejectionSamplingConfig, train_on_best_answers
from codling.posttrain.reward_files import load_reward_model
from codling.posttrain.tune_preferences import PreferenceTuningConfig, tune_preferences
from codling.tokenizer.encode import Tokenizer
from codling.train.metrics import read_metrics
from codling.train.sharding import gather

EDGE_ITERATIONS = 5
"""At the beginning and at the end of online training whose mean figures are the stage's own."""


@config
class OnlineStageConfig:
    """Online training on a round's prompts."""

    training: OnlineConfig
    rewards: RewardWeights = RewardWeights()
    """What an answer earns."""
    share_by_skill: dict[str, float] | None = None
    """How often a skill's prompts are drawn; none: as often as they occur."""

    def __post_init__(self) -> None:
        shares = self.share_by_skill
        if shares is not None and not (
            all(0 <= share < math.inf for share in shares.values()) and any(shares.values())
        ):
            raise ValueError("the shares in share_by_skill must not be negative, and one must be above 0")


def run_rejection_sampling(
    config: RejectionSamplingConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray
) -> dict[str, Any]:
    """Train on the best answers. Inputs: start, demonstrations, tokens."""
    demonstrations = read_demonstrations(inputs["demonstrations"].path / DEMONSTRATIONS_FILE)
    return train_on_best_answers(config, load_model(best_model(inputs["start"])), demonstrations, inputs, out, key)


def run_tune_preferences(
    config: PreferenceTuningConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray
) -> dict[str, Any]:
    """Train on labelled pairs, by DPO or IPO. Inputs: start, tokenizer, labels..."""
    path = best_model(inputs["start"])
    tokenizer, pairs = Tokenizer.load(inputs["tokenizer"].path), read_labels(inputs)
    model = tune_preferences(config, load_model(path), pairs, tokenizer, out, key)
    save_model(out.path, model, tokenizer_sha256=tokenizer_of(path))
    return {
        "num_pairs": len(pairs),
        "num_too_long": lay_out(pairs, tokenizer, config.row_length_tokens).num_too_long,
        "num_tokens": config.loop.num_steps * config.loop.batch_size_rows * config.row_length_tokens,
    }


def run_online(config: OnlineStageConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Train on what its own answers earn. Inputs: start, prompts, reward_model, tokenizer."""
    path = best_model(inputs["start"])
    policy, tokenizer = load_model(path), Tokenizer.load(inputs["tokenizer"].path)
    prompts = read_task_prompts(inputs["prompts"].path / TRAIN_FILE)
    spelled = [encode_prompt(tokenizer, prompt) for prompt in prompts]
    fitting = [prompts[place] for place in room_for(spelled, config.training.rollout, [policy])]
    reward_model = load_reward_model(inputs["reward_model"].path) if config.rewards.reward_model else None
    task = PromptTask(fitting, tokenizer, config.rewards, reward_model, config.share_by_skill)
    for record in train_online(config.training, policy, task, out, key):
        policy = record.params
    save_model(out.path, gather(policy), tokenizer_sha256=tokenizer_of(path))
    records = read_metrics(out.path)
    return {
        "num_iterations": config.training.num_iterations,
        "num_answers": config.training.num_iterations
        * config.training.num_prompts
        * config.training.rollout.num_answers,
        "num_prompts_without_room": len(prompts) - len(fitting),
        "first": _mean(records[:EDGE_ITERATIONS]),
        "last": _mean(records[-EDGE_ITERATIONS:]),
    }


def _mean(records: list[dict[str, Any]]) -> dict[str, float]:
    """Of every figure that all records have."""
    names = set.intersection(*(set(record) for record in records)) - {"step", "wall_time_s"}
    return {name: sum(float(record[name]) for record in records) / len(records) for name in sorted(names)}
