"""Pairs of answers that wait for a verdict: who wrote them, and to what.

{"prompt": TASK PROMPT, "answers": [MESSAGE, MESSAGE], "members": ["...", "..."]}        one a line
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codling.committee.task_prompts import TaskPrompt, parse_task_prompt, plain_task_prompt
from codling.config import config, from_dict
from codling.data.json_lines import read_objects, write_objects
from codling.errors import UserError
from codling.posttrain.preferences import are_equal
from codling.posttrain.prompts import content_id, is_empty, plain_message, plain_prompt
from codling.tokenizer.messages import Message

PAIRS_FILE = "pairs.jsonl"
"""In a pairs artifact."""


@config
class CandidatePair:
    """Two different answers to one prompt."""

    prompt: TaskPrompt
    answers: tuple[Message, Message]
    """Two different messages of the assistant, neither empty."""
    members: tuple[str, str]
    """The committee's member that wrote each."""

    def __post_init__(self) -> None:
        if any(answer.role != "assistant" or is_empty(answer) for answer in self.answers):
            raise ValueError("an answer is a message of the assistant, and not empty")
        if are_equal(*self.answers):
            raise ValueError("the two answers are equal; a pair needs two different ones")

    @property
    def id(self) -> str:
        """That of the preference pair that it becomes: the same in either order of the answers."""
        answers = [content_id(plain_message(answer)) for answer in self.answers]
        return content_id([plain_prompt(self.prompt.prompt), sorted(answers)])


def write_candidates(path: Path, pairs: Sequence[CandidatePair]) -> None:
    """Write one a line."""
    write_objects(path, map(plain_candidate, pairs))


def plain_candidate(pair: CandidatePair) -> dict[str, Any]:
    """A pair as JSON values."""
    answers = [plain_message(answer) for answer in pair.answers]
    return {"prompt": plain_task_prompt(pair.prompt), "answers": answers, "members": list(pair.members)}


def read_candidates(path: Path) -> list[CandidatePair]:
    """Read pairs, one a line. Errors: `UserError` that names file and line, for anything that is no pair."""
    pairs = []
    for place, record in read_objects(path):
        if isinstance(record.get("prompt"), dict):
            parse_task_prompt(record["prompt"], f"{place}: prompt")
        pairs.append(from_dict(CandidatePair, record, source=place))
    if not pairs:
        raise UserError(f"{path}: holds no pair")
    return pairs
