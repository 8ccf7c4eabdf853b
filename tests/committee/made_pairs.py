"""Candidate pairs in one line each."""

from collections.abc import Sequence
from pathlib import Path

from codling.committee.candidates import CandidatePair
from codling.committee.labeler import PairsToLabel
from codling.committee.task_prompts import TaskPrompt
from codling.posttrain.prompts import Prompt
from codling.rewards.check import Check
from codling.rewards.number import NumberCheck
from codling.tokenizer.messages import Message

SEVEN = NumberCheck(expected="7")


def said(answer: str | Message) -> Message:
    """A text as the assistant's."""
    return Message(role="assistant", content=answer) if isinstance(answer, str) else answer


def make_pair(
    first: str | Message,
    second: str | Message,
    *,
    question: str = "3 + 4?",
    check: Check | None = SEVEN,
    skill: str = "arithmetic",
) -> CandidatePair:
    """Two answers, the first of them by `sft`, the second by `dpo`."""
    prompt = Prompt(messages=(Message(role="user", content=question),))
    asked = TaskPrompt(prompt=prompt, skill=skill, check=check, source="test", license="CC0-1.0")
    return CandidatePair(prompt=asked, answers=(said(first), said(second)), members=("sft", "dpo"))


def work_on(pairs: Sequence[CandidatePair], directory: Path, known: Sequence[str] = ()) -> PairsToLabel:
    """Pairs as a labeler gets them."""
    return PairsToLabel({pair.id: pair for pair in pairs}, frozenset(known), directory)
