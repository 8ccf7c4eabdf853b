"""The prompts of a round: what is asked, which skill it belongs to, and how an answer can be checked, where it can be.

    {"prompt": {"messages": [...], "tools": [...]}, "skill": "...", "category": "...", "check": {...},
     "source": "...", "license": "..."}                                                        one a line

A prompt without a check is answered and preferred over by a reward model, a judge or people alone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codling.config import config, from_dict, to_dict
from codling.data.json_lines import read_objects, write_objects
from codling.errors import UserError
from codling.posttrain.prompts import Prompt, plain_prompt, read_prompt
from codling.rewards.check import Check


@config
class TaskPrompt:
    """One prompt of a round."""

    prompt: Prompt
    skill: str
    """The family that figures are told by."""
    category: str = ""
    """A part of the skill, for figures again; empty: none."""
    check: Check | None = None
    """How an answer is checked; none: it cannot be."""
    source: str
    """Where the prompt comes from."""
    license: str
    """Under which it may be used and passed on."""

    def __post_init__(self) -> None:
        if not self.skill:
            raise ValueError("skill is empty; name the family that the prompt belongs to")

    @property
    def id(self) -> str:
        """That of the bare prompt."""
        return self.prompt.id


def write_task_prompts(path: Path, prompts: Sequence[TaskPrompt]) -> None:
    """Write one a line."""
    write_objects(path, map(plain_task_prompt, prompts))


def read_task_prompts(path: Path) -> list[TaskPrompt]:
    """Read prompts, one a line, plain or gzip.

    Errors: `UserError` that names file and line, for anything that is no prompt; and for a file of none.
    """
    prompts = [parse_task_prompt(record, place) for place, record in read_objects(path)]
    if not prompts:
        raise UserError(f"{path}: holds no prompt")
    return prompts


def plain_task_prompt(prompt: TaskPrompt) -> dict[str, Any]:
    """A prompt as JSON values."""
    return {**to_dict(prompt), "prompt": plain_prompt(prompt.prompt)}


def parse_task_prompt(record: dict[str, Any], place: str) -> TaskPrompt:
    """Check a prompt; `place` is how errors name it."""
    values = dict(record)
    if "prompt" in values:
        # By itself first, so that an error is about the prompt and not about all that is in it.
        values["prompt"] = plain_prompt(read_prompt(values["prompt"], source=f"{place}: prompt"))
    return from_dict(TaskPrompt, values, source=place)
