"""Committee distillation: every member answers every prompt, and the best answer of all is kept to learn from.

    demonstrations artifact:  demonstrations.jsonl, choices.jsonl (who won which prompt, by how much)

The report picks by the reward model, per prompt and across members (arXiv 2407.21075 section 4.2.2). Here it is the
round's reward: checks too, where prompts have them; and a prompt that nobody answered well enough teaches nothing.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.committee.committee import open_members
from codling.committee.draw_prompts import TRAIN_FILE
from codling.committee.prompt_task import PromptTask, RewardWeights, encode_prompt
from codling.committee.sampled_answers import SampledAnswer, room_for, sample_answers
from codling.committee.task_prompts import TaskPrompt, read_task_prompts
from codling.config import config
from codling.data.json_lines import write_objects
from codling.errors import UserError
from codling.posttrain.demonstrations import Demonstration, write_demonstrations
from codling.posttrain.quality_guards import GuardConfig, guard
from codling.posttrain.reward_files import load_reward_model
from codling.posttrain.rollout import RolloutConfig
from codling.tokenizer.encode import Tokenizer
from codling.train.seed import seed_from
from codling.train.sharding import data_mesh

DEMONSTRATIONS_FILE, CHOICES_FILE = "demonstrations.jsonl", "choices.jsonl"


@config
class BestAnswersConfig:
    """How much is asked, and what is good enough."""

    num_prompts: int
    """Prompts of the round, drawn by lot, or all where there are fewer. More of them keep helping a small model (arXiv
    2407.21075 section 4.2)."""
    rollout: RolloutConfig
    """num_answers is of each member."""
    guards: GuardConfig
    """What no demonstration may be, whatever its reward."""
    temperature: float = 1.0
    rewards: RewardWeights = RewardWeights()
    """What the best answer is the best by."""
    min_check_score: float = 1.0
    """Prompts whose best answer's check scores less are left out, and counted; prompts without a check never are. Ours:
    checks are no part of the report."""

    def __post_init__(self) -> None:
        if self.num_prompts < 1 or not 0 <= self.min_check_score <= 1:
            raise ValueError("num_prompts must be >= 1, min_check_score within 0 and 1")
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature}; it must be at least 0, and finite")


class Choice(NamedTuple):
    """The best answer to a prompt."""

    answer: SampledAnswer
    reward: float
    check_score: float
    """Not a number where the prompt has no check."""


def run_best_answers(config: BestAnswersConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Let the committee answer and keep the best. Inputs: committee, prompts, reward_model, tokenizer.

    Errors: `UserError` where nothing is left to learn from.
    """
    members = open_members(inputs["committee"].path)
    tokenizer = Tokenizer.load(inputs["tokenizer"].path)
    pool = read_task_prompts(inputs["prompts"].path / TRAIN_FILE)
    spelled = [encode_prompt(tokenizer, prompt) for prompt in pool]
    places = room_for(spelled, config.rollout, [member.model for member in members])
    random = np.random.default_rng(seed_from(key))
    prompts = [pool[place] for place in sorted(random.permutation(places)[: config.num_prompts].tolist())]
    task = PromptTask(prompts, tokenizer, config.rewards, load_reward_model(inputs["reward_model"].path))
    with out.progress(2) as progress:
        mesh = data_mesh(config.rollout.batch_size_prompts)
        draws = jax.random.fold_in(key, 1)
        answers = sample_answers(members, config.rollout, task.prompts, tokenizer, draws, mesh, config.temperature)
        progress.update(1)
        choices = choose_best(task, answers, random)
        progress.update(2)
    is_good = [choice is not None and not choice.check_score < config.min_check_score for choice in choices]
    kept = [
        (prompt, choice)
        for prompt, choice, good in zip(prompts, choices, is_good, strict=True)
        if choice is not None and good
    ]
    guarded = guard([_demonstration(prompt, choice, inputs) for prompt, choice in kept], tokenizer, config.guards)
    if not guarded.kept:
        raise UserError(f"{out.name}: no prompt of {len(prompts)} got an answer that is good enough to learn from")
    write_demonstrations(out.path / DEMONSTRATIONS_FILE, guarded.kept)
    write_objects(out.path / CHOICES_FILE, [_row(p, c, g) for p, c, g in zip(prompts, choices, is_good, strict=True)])
    return {
        "num_prompts": len(prompts),
        "num_prompts_without_room": len(pool) - len(places),
        "num_answers": sum(map(len, answers)),
        "num_without_good_answer": len(prompts) - len(kept),
        "num_guarded_out": {reason.value: count for reason, count in guarded.left_out.items()},
        "num_demonstrations": len(guarded.kept),
        "wins": _wins(kept, [member.about.name for member in members]),
        "mean_reward_of_best": float(np.mean([choice.reward for _, choice in kept])),
    }


def choose_best(
    task: PromptTask, answers: Sequence[Sequence[SampledAnswer]], random: np.random.Generator
) -> list[Choice | None]:
    """The whole answer to each prompt that earns most; none where no answer is whole.

    Of answers that earn the same one is drawn by lot, so that the order of the members decides nothing.
    """
    flat = [(place, answer) for place, found in enumerate(answers) for answer in found if answer.message is not None]
    if not flat:
        return [None] * len(answers)
    flat = [flat[number] for number in random.permutation(len(flat))]
    places, ids = [place for place, _ in flat], [answer.ids for _, answer in flat]
    rewards, checked = task.score(places, ids).rewards, task.checked(places, ids)
    best: list[Choice | None] = [None] * len(answers)
    for (place, answer), reward, check_score in zip(flat, rewards, checked, strict=True):
        holder = best[place]
        if holder is None or reward > holder.reward:
            best[place] = Choice(answer, float(reward), float(check_score))
    return best


def _demonstration(prompt: TaskPrompt, choice: Choice, inputs: Inputs) -> Demonstration:
    assert choice.answer.message is not None
    return Demonstration(
        messages=(*prompt.prompt.messages, choice.answer.message),
        tools=prompt.prompt.tools,
        source=f"{prompt.source}; answered by {choice.answer.member}, {inputs['committee'].manifest.id}",
        license=prompt.license,
    )


def _row(prompt: TaskPrompt, choice: Choice | None, is_kept: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"prompt_id": prompt.id, "skill": prompt.skill, "is_kept": is_kept}
    if choice is None:
        return row
    checked = {} if np.isnan(choice.check_score) else {"check_score": choice.check_score}
    return row | {"member": choice.answer.member, "reward": choice.reward} | checked


def _wins(kept: Sequence[tuple[TaskPrompt, Choice]], members: Sequence[str]) -> dict[str, dict[str, int]]:
    """Skill -> member -> prompts that it answered best."""
    counts = Counter((prompt.skill, choice.answer.member) for prompt, choice in kept)
    skills = sorted({prompt.skill for prompt, _ in kept})
    return {skill: {member: counts[skill, member] for member in members} for skill in skills}
