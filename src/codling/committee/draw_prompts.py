"""The first stage of alignment: prompts to learn from, and others to elect by.

    task_prompts artifact:  train.jsonl, validation.jsonl

They are drawn from the skills' training split with another seed than the demonstrations. Held-out requests are never
among them; those that fine-tuning has demonstrations of are left out, and so is each prompt's second copy.
"""

from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

from jaxtyping import PRNGKeyArray

from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.committee.task_prompts import TaskPrompt, read_task_prompts, write_task_prompts
from codling.config import config
from codling.data.conversations import ConversationsConfig, build_skill, load_conversations
from codling.data.sources import Split
from codling.errors import UserError
from codling.posttrain.prompts import Prompt
from codling.rewards.tasks import check_of
from codling.skills.skill import Example
from codling.tokenizer.messages import read_messages

TRAIN_FILE, VALIDATION_FILE = "train.jsonl", "validation.jsonl"
SPLITS: tuple[Split, ...] = ("train", "heldout")
MAX_DRAWS = 8
"""Times that as many as are wanted are drawn, each time by another seed, before a skill is said to have no more."""


@config
class DrawPromptsConfig:
    """How many prompts of each skill, and one's own."""

    num_train_by_skill: dict[str, int]
    """Prompts that rounds draw from."""
    num_validation: int
    """Of each skill: what the committee is elected by. Never the held-out ones, which judge the finished models."""
    seed: int = 1
    """Which prompts are drawn; another than that of the conversations."""
    train_path: Path | None = None
    """A file of prompts of one's own, beside those of the skills; see `committee.task_prompts` for its form."""
    validation_path: Path | None = None
    """The same, to elect by; no prompt is in both."""

    def __post_init__(self) -> None:
        if (self.train_path is None) != (self.validation_path is None):
            raise ValueError("train_path and validation_path go together: prompts to learn from, others to elect by")
        if self.num_validation < 1 or not (self.num_train_by_skill or self.train_path):
            raise ValueError("there must be prompts to learn from, and num_validation >= 1 to elect by")


@config
class PromptsStageConfig:
    """What is drawn, and from which skills."""

    conversations: ConversationsConfig
    """The skills, as the demonstrations were drawn from them."""
    prompts: DrawPromptsConfig

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.prompts.num_train_by_skill) - set(self.conversations.num_train_by_skill)):
            raise ValueError(f"prompts.num_train_by_skill: '{unknown[0]}' is no skill of the conversations")
        if self.prompts.seed == self.conversations.seed:
            raise ValueError("prompts.seed is that of the conversations: prompts would be those of the demonstrations")


def run_draw_prompts(config: PromptsStageConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Draw the prompts. Inputs: conversations.

    Errors: `UserError` where a skill has not that many new ones; for a prompt of one's own that is held out, or both to
    learn from and to elect by.
    """
    drawing = config.prompts
    own = [read_task_prompts(path) if path else [] for path in (drawing.train_path, drawing.validation_path)]
    train, validation = (_without_copies(prompts) for prompts in own)
    splits = {split: _ids(inputs["conversations"].path, split) for split in SPLITS}
    _refuse(validation, {prompt.id for prompt in train}, "is among the prompts to learn from too")
    _refuse([*train, *validation], splits["heldout"], "is a held-out request of the conversations")
    seen = set().union(*splits.values(), (prompt.id for prompt in (*train, *validation)))
    num_own = len(train) + len(validation)
    figures: dict[str, Any] = {}
    with out.progress(len(drawing.num_train_by_skill)) as progress:
        for done, (name, num_train) in enumerate(drawing.num_train_by_skill.items(), start=1):
            drawn = _draw(config, name, num_train + drawing.num_validation, seen)
            validation += drawn[: drawing.num_validation]
            train += drawn[drawing.num_validation :]
            figures[name] = {"num_train": num_train, "num_validation": drawing.num_validation}
            progress.update(done)
    write_task_prompts(out.path / TRAIN_FILE, train)
    write_task_prompts(out.path / VALIDATION_FILE, validation)
    return {
        "num_train": len(train),
        "num_validation": len(validation),
        "num_own_copies": sum(map(len, own)) - num_own,
        "skills": figures,
    }


def _draw(config: PromptsStageConfig, name: str, count: int, seen: set[str]) -> list[TaskPrompt]:
    """New prompts of a skill, in the order in which they were drawn; what is drawn is seen from then on."""
    skill = build_skill(name, config.conversations)
    found: list[TaskPrompt] = []
    for number in range(MAX_DRAWS):
        for prompt in map(task_prompt, skill.examples("train", count, config.prompts.seed + number)):
            if prompt.id in seen:
                continue
            seen.add(prompt.id)
            found.append(prompt)
            if len(found) == count:
                return found
    raise UserError(
        f"prompts: the skill '{name}' has {len(found)} prompts that the demonstrations do not have, {count} are "
        "wanted; lower num_train_by_skill or num_validation, or the skill's demonstrations"
    )


def task_prompt(example: Example) -> TaskPrompt:
    """An example as a prompt: its target is forgotten, all but what its check knows."""
    return TaskPrompt(
        prompt=Prompt(messages=read_messages(example.prompt), tools=example.tools),
        skill=example.skill,
        category=example.category,
        check=check_of(example),
        source=f"codling skill {example.skill}",
        license="Apache-2.0",
    )


def _ids(conversations: Path, split: Split) -> set[str]:
    """Ids of all prompts of a split, whatever their skill."""
    found = load_conversations(conversations, split).values()
    return {
        Prompt(messages=read_messages(example.prompt), tools=example.tools).id
        for examples in found
        for example in examples
    }


def _without_copies(prompts: Sequence[TaskPrompt]) -> list[TaskPrompt]:
    """The first one of equal prompts."""
    found: dict[str, TaskPrompt] = {}
    for prompt in prompts:
        found.setdefault(prompt.id, prompt)
    return list(found.values())


def _refuse(prompts: Sequence[TaskPrompt], taken: Set[str], reason: str) -> None:
    if found := next((prompt for prompt in prompts if prompt.id in taken), None):
        raise UserError(f"prompts: {found.skill} prompt {found.id} of your files {reason}; take it out of one of them")
