"""Committees of untrained models, and the artifacts around them, in one line each."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from codling.artifact.model_files import save_model
from codling.artifact.stage import Artifact, Inputs, Stage, run_stage
from codling.artifact.workspace import SilentReporter, Workspace
from codling.committee.committee import Candidate, Committee, Method, save_committee
from codling.committee.prompt_task import PromptTask, RewardWeights
from codling.committee.sampled_answers import SampledAnswer
from codling.committee.task_prompts import TaskPrompt
from codling.config import config
from codling.model.transformer import Transformer
from codling.posttrain.prompts import Prompt
from codling.posttrain.reward_model import RewardModel, init_reward_model
from codling.rewards.check import Check
from codling.rewards.number import NumberCheck
from codling.tokenizer.messages import Message
from codling.tokenizer.special_tokens import END
from tests.conftest import Pair

Write = Callable[[Path], None]


@config
class Nothing:
    """The configuration of a stage without choices."""


def leave(
    store: Path, name: str, write: Write, *, kind: str = "model", inputs: Mapping[str, Artifact] | None = None
) -> Artifact:
    """The artifact of a stage that only writes files."""
    given = dict(inputs or {})

    def run(config: Nothing, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
        write(out.path)
        return {}

    stage = Stage(name, kind, 1, Nothing(), {role: role for role in given}, run)
    return run_stage(stage, given, store, 0, SilentReporter())


def scaled(model: Transformer, factor: float) -> Transformer:
    """Another model of the same shape."""
    found: Transformer = jax.tree.map(lambda leaf: leaf * factor, model)
    return found


def leave_model(
    store: Path, pair: Pair, name: str, factor: float = 1.0, inputs: Mapping[str, Artifact] | None = None
) -> Artifact:
    """A model's artifact."""

    def write(path: Path) -> None:
        save_model(path, scaled(pair.model, factor), tokenizer_sha256=pair.tokenizer.sha256)

    return leave(store, name, write, inputs=inputs)


def stand(name: str, method: Method = Method.SFT, **changes: Any) -> Candidate:
    """A candidate of the server's side."""
    values: dict[str, Any] = {"side": "server", "round": 0, "model_id": f"{name}-0", "score": 0.0, "skills": {}}
    return Candidate(name=name, method=method, **(values | changes))


def leave_committee(store: Path, committee: Committee, models: Mapping[str, Artifact]) -> Artifact:
    """A committee's artifact."""
    paths = {name: artifact.path for name, artifact in models.items()}
    name = f"{committee.side}_round{committee.round}_committee"
    return leave(store, name, lambda path: save_committee(path, committee, paths), kind="committee")


def ask(question: str, *, skill: str = "arithmetic", check: Check | None = None, expected: str = "") -> TaskPrompt:
    """A prompt; its answer is a number where one is expected."""
    prompt = Prompt(messages=(Message(role="user", content=question),))
    judged = NumberCheck(expected=expected) if expected else check
    return TaskPrompt(prompt=prompt, skill=skill, check=judged, source="test", license="CC0-1.0")


def answered(pair: Pair, member: str, text: str, *, is_whole: bool = True) -> SampledAnswer:
    """What a member said."""
    ids = [*pair.tokenizer.encode(text), *([END.id] if is_whole else [])]
    return SampledAnswer(member, ids, Message(role="assistant", content=text) if is_whole else None)


def judge(pair: Pair, prompts: Sequence[TaskPrompt], weights: RewardWeights | None = None) -> PromptTask:
    """A task whose reward model, where it weighs anything, has an opinion at random."""
    return PromptTask(prompts, pair.tokenizer, weights or RewardWeights(), opinionated(pair))


def opinionated(pair: Pair, seed: int = 0) -> RewardModel:
    """A reward model whose untrained head is not zero."""
    fresh = init_reward_model(pair.model, jax.random.key(seed))
    draw = jax.random.normal(jax.random.key(seed + 1), fresh.reward.shape)
    return RewardModel(fresh.backbone, draw, fresh.grader_hidden, fresh.grader_out)
