"""The stages that make committees: the first one is found as it is, every later one is elected.

After a round all new models and the members so far answer the validation prompts greedily. Of each family (RS; DPO and
IPO; MDLOO) the best new one stands, beside the members so far; the best of all of these are the committee. The report
names who is in it, and not by which figure (arXiv 2407.21075 section 4.2): ours is the mean over the skills of what
answers earn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import PRNGKeyArray

from codling.artifact.hf import CONFIG_FILE, WEIGHTS_FILE
from codling.artifact.model_files import load_model
from codling.artifact.stage import Artifact, Inputs
from codling.artifact.workspace import Workspace
from codling.committee.committee import (
    FAMILIES,
    Candidate,
    Committee,
    Method,
    SkillScore,
    link_or_copy,
    load_committee,
    member_path,
    save_committee,
)
from codling.committee.draw_prompts import VALIDATION_FILE
from codling.committee.prompt_task import PromptTask, RewardWeights
from codling.committee.task_prompts import read_task_prompts
from codling.config import config
from codling.errors import UserError
from codling.evaluate.answers import greedy_answers
from codling.model.transformer import Transformer
from codling.posttrain.reward_files import load_reward_model
from codling.tokenizer.encode import Tokenizer


@config
class FoundConfig:
    """The committee before the first round."""

    side: str
    """Server or device."""


@config
class ElectionConfig:
    """By what the members are elected, and how many."""

    side: str
    """Server or device."""
    round: int
    """The round that ends here."""
    rewards: RewardWeights = RewardWeights()
    max_members: int = 4
    max_answer_tokens: int = 64

    def __post_init__(self) -> None:
        if self.max_members < 1 or self.max_answer_tokens < 1 or self.round < 1:
            raise ValueError("max_members, max_answer_tokens and round must be >= 1")


@config
class AlignedConfig:
    """Nothing to choose: the finished model is the best of its side's last committee."""


def run_found(config: FoundConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Make the fine-tuned model the first member. Inputs: sft, teachers (a committee of another side; optional)."""
    own = Candidate(
        name=inputs["sft"].manifest.stage,
        method=Method.SFT,
        side=config.side,
        round=0,
        model_id=inputs["sft"].manifest.id,
        score=0.0,
        skills={},
        elected_in=(0,),
    )
    models, teachers = {own.name: inputs["sft"].path}, []
    if "teachers" in inputs:
        others = load_committee(inputs["teachers"].path)
        for member in others.members:
            models[member.name] = member_path(inputs["teachers"].path, member.name)
        elected = {member.name for member in others.members}
        # The whole family comes along, so that its tree can be drawn; who is a member is said anew.
        teachers = [replace(one, elected_in=(0,) if one.name in elected else ()) for one in others.candidates]
    save_committee(out.path, Committee(side=config.side, round=0, candidates=(own, *teachers)), models)
    return {"members": sorted(models)}


def run_election(config: ElectionConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Elect. Inputs: committee (before), prompts, reward_model, tokenizer; rs, dpo, ipo, mdloo: the round's new models.

    Errors: `UserError` where no new model is among them, or one that started from none of them nor the committee.
    """
    before = load_committee(inputs["committee"].path)
    new = {method: inputs[method.value] for method in Method if method.value in inputs}
    if not new:
        raise UserError(f"{out.name}: the round trained no model; give it at least one of rs, dpo, ipo, mdloo")
    tokenizer = Tokenizer.load(inputs["tokenizer"].path)
    prompts = read_task_prompts(inputs["prompts"].path / VALIDATION_FILE)
    reward_model = load_reward_model(inputs["reward_model"].path)
    task = PromptTask(prompts, tokenizer, config.rewards, reward_model)
    standing = [*before.members, *_newcomers(config, before, inputs["committee"], new)]
    paths = {member.name: member_path(inputs["committee"].path, member.name) for member in before.members}
    paths |= {artifact.manifest.stage: artifact.path for artifact in new.values()}
    scored: dict[str, Candidate] = {}
    with out.progress(len(standing)) as progress:
        for done, candidate in enumerate(standing, start=1):
            skills = skill_scores(load_model(paths[candidate.name]), task, config.max_answer_tokens)
            score = float(np.mean([skill.reward for skill in skills.values()]))
            scored[candidate.name] = replace(candidate, skills=skills, score=score)
            progress.update(done, score=score)
    elected = elect(list(scored.values()), config)
    candidates = tuple(
        replace(one, elected_in=(*one.elected_in, config.round)) if one.name in elected else one
        for one in (*(scored.get(old.name, old) for old in before.candidates), *_new_ones(scored, before))
    )
    committee = Committee(side=config.side, round=config.round, candidates=candidates)
    save_committee(out.path, committee, paths)
    return {
        "members": sorted(elected),
        "best": committee.best.name,
        "scores": {name: candidate.score for name, candidate in scored.items()},
    }


def run_aligned(config: AlignedConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Take the best member as the side's finished model. Inputs: committee."""
    best = load_committee(inputs["committee"].path).best
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        link_or_copy(member_path(inputs["committee"].path, best.name) / name, out.path / name)
    return {"candidate": best.name, "method": best.method.value, "score": best.score}


def elect(standing: Sequence[Candidate], config: ElectionConfig) -> set[str]:
    """The names of the members: of each family's newcomers the best, and the best so far; then the best of these.

    At least one is of the committee's own side, or the side would have nothing to start from.
    """
    newcomers = [one for one in standing if one.side == config.side and one.round == config.round]
    chosen = [one for one in standing if one not in newcomers]
    for family in FAMILIES:
        if of_family := [one for one in newcomers if one.method in family]:
            chosen.append(max(of_family, key=lambda one: one.score))
    # Stable: of equals the earlier one stays.
    ranked = sorted(chosen, key=lambda one: -one.score)
    members = ranked[: config.max_members]
    if not any(one.side == config.side for one in members):
        members[-1] = next(one for one in ranked if one.side == config.side)
    return {one.name for one in members}


def skill_scores(model: Transformer, task: PromptTask, max_answer_tokens: int) -> dict[str, SkillScore]:
    """What a model's greedy answers to all prompts of a task earn, by skill; an empty answer earns as it is."""
    answers = greedy_answers(model, task.prompts, max_answer_tokens)
    places = range(len(answers))
    rewards, checked = task.score(places, answers).rewards, task.checked(places, answers)
    skills = np.asarray([prompt.skill for prompt in task.task_prompts])
    found = {}
    for name in np.unique(skills):
        is_own = skills == name
        known = checked[is_own & ~np.isnan(checked)]
        found[str(name)] = SkillScore(
            reward=float(np.mean(rewards[is_own])),
            correct=float(np.mean(known == 1.0)) if len(known) else None,
            num_prompts=int(np.sum(is_own)),
        )
    return found


def _newcomers(
    config: ElectionConfig, before: Committee, committee: Artifact, new: Mapping[Method, Artifact]
) -> list[Candidate]:
    """The round's new models. Each started from another of them, or from the best of the committee before."""
    starts = {artifact.manifest.id: artifact.manifest.stage for artifact in new.values()}
    starts[committee.manifest.id] = before.best.name
    members = tuple(member.name for member in before.members)
    found = []
    for method, artifact in new.items():
        start = artifact.manifest.inputs["start"]
        if start not in starts:
            raise UserError(f"{artifact.path}: started from {start}, which is no model of this round nor its committee")
        found.append(
            Candidate(
                name=artifact.manifest.stage,
                method=method,
                side=config.side,
                round=config.round,
                model_id=artifact.manifest.id,
                parents=(starts[start],),
                # MDLOO learns from nobody's answers but its own.
                teachers=() if method is Method.MDLOO else members,
                score=0.0,
                skills={},
            )
        )
    return found


def _new_ones(scored: Mapping[str, Candidate], before: Committee) -> list[Candidate]:
    known = {one.name for one in before.candidates}
    return [one for name, one in scored.items() if name not in known]
