"""What every skill is: examples to tune on, a score for an answer, and trivial answers to be measured
against.

Where this sits in the recipe: supervised fine-tuning (arXiv 2407.21075 section 4.1) reads the training
examples; the evaluation stage scores a model's answers to the held-out ones and prints them next to the
trivial baselines. A skill knows no tokenizer and no model. It makes OpenAI-style messages, and judges
text and tool calls that somebody parsed.
"""

import hashlib
import json
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Literal, NamedTuple, TypeVar

from codling.errors import UserError

T = TypeVar("T")
Split = Literal["train", "heldout"]
HELDOUT_BYTE_VALUES = 26
"""Of the 256 values of a hash's first byte, those that are held out where words are shared: about a tenth."""
Message = dict[str, Any]
"""`{"role", "content"}`, or `{"role": "assistant", "tool_calls": [call, ...]}`."""
ToolCall = dict[str, Any]
"""`{"name": str, "arguments": dict}`; in an answer the arguments may still be their JSON text."""


class Answer(NamedTuple):
    """What a model, or a baseline, said: its text, and its tool calls taken out of the text.

    A call that could not be read is a call too, one without a name: it counts as made, and is never right.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


class Example(NamedTuple):
    """One conversation. Its last message is the assistant's, the target; all before it is the prompt."""

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...]
    skill: str
    category: str
    check: dict[str, Any] | None = None
    """How an answer is judged where the target alone does not tell, as JSON values (`codling.rewards.check`)."""

    @property
    def prompt(self) -> tuple[Message, ...]:
        """Everything before the target."""
        return self.messages[:-1]

    @property
    def request(self) -> str:
        """What the user said last."""
        return next(str(m["content"]) for m in reversed(self.messages) if m["role"] == "user")

    @property
    def target(self) -> Answer:
        """The assistant's last message as an answer."""
        message = self.messages[-1]
        return Answer(message.get("content", ""), tuple(message.get("tool_calls", ())))


class Score(NamedTuple):
    """One answer judged: right or not, and how near it came (0 to 1)."""

    exact: bool
    partial: float


class MeanScore(NamedTuple):
    """The share of exact answers and the mean nearness, over `num_examples` answers."""

    exact: float
    partial: float
    num_examples: int


Guesser = Callable[[Example], Answer]
"""A trivial way to answer: sees an example's prompt, and must not look at its target."""


class Skill(ABC):
    """A thing to learn. The same split, count and seed give the same examples, always."""

    name: str

    @abstractmethod
    def examples(self, split: Split, count: int, seed: int) -> list[Example]:
        """Make `count` examples. No held-out request is ever a training request."""

    @abstractmethod
    def score(self, answer: Answer, example: Example) -> Score:
        """Judge an answer to the example's prompt."""

    @abstractmethod
    def guessers(self, train: Sequence[Example]) -> dict[str, Guesser]:
        """Name the trivial ways to answer, fitted to the training examples where they need any."""

    def baselines(self, train: Sequence[Example], heldout: Sequence[Example]) -> dict[str, float]:
        """Give the share of held-out examples that each trivial way answers exactly.

        Errors: `UserError` where there are no training examples to fit to, or no held-out ones to answer.
        """
        if not train:
            raise UserError(f"skill {self.name}: the baselines need at least one training example")
        return {
            name: mean_score(self, [guess(example) for example in heldout], heldout).exact
            for name, guess in self.guessers(train).items()
        }


def mean_score(skill: Skill, answers: Sequence[Answer], examples: Sequence[Example]) -> MeanScore:
    """Score answers in the order of their examples.

    Errors: `UserError` where there is nothing to score, or not one answer for each example.
    """
    if not examples or len(answers) != len(examples):
        raise UserError(f"skill {skill.name}: {len(answers)} answers for {len(examples)} examples; give one for each")
    scores = [skill.score(answer, example) for answer, example in zip(answers, examples, strict=True)]
    total = len(scores)
    return MeanScore(sum(s.exact for s in scores) / total, sum(s.partial for s in scores) / total, total)


def category_scores(skill: Skill, answers: Sequence[Answer], examples: Sequence[Example]) -> dict[str, MeanScore]:
    """Score each category by itself, in the order of the categories' names."""
    parts: dict[str, tuple[list[Answer], list[Example]]] = {}
    for answer, example in zip(answers, examples, strict=True):
        some_answers, some_examples = parts.setdefault(example.category, ([], []))
        some_answers.append(answer)
        some_examples.append(example)
    return {category: mean_score(skill, *parts[category]) for category in sorted(parts)}


def random_for(name: str, split: Split, seed: int) -> random.Random:
    """Give a skill's own random stream, so that one skill's draws never shift another's."""
    return random.Random(f"{name}/{split}/{seed}")


def draw_of_split(split: Split, draw: Callable[[], T], identity: Callable[[T], object]) -> T:
    """Draw until something belongs to the split: by a hash of its identity (JSON values), one in ten is held out.

    For grammars whose splits share their words: nothing held out is ever trained on, whatever the counts and seeds.
    """
    while True:
        drawn = draw()
        digest = hashlib.sha256(json.dumps(identity(drawn)).encode()).digest()
        if (digest[0] < HELDOUT_BYTE_VALUES) == (split == "heldout"):
            return drawn


def check_count(name: str, count: int) -> None:
    """Refuse a count below 1."""
    if count < 1:
        raise UserError(f"skill {name}: {count} examples asked for; ask for at least 1")


def user(text: str) -> Message:
    """Write a user's message."""
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    """Write an assistant's message of plain text."""
    return {"role": "assistant", "content": text}


def calls(name: str, arguments: Mapping[str, str]) -> Message:
    """Write an assistant's message that makes one tool call."""
    return {"role": "assistant", "tool_calls": [{"name": name, "arguments": dict(arguments)}]}


def tool_result(text: str) -> Message:
    """Write what a tool returned."""
    return {"role": "tool", "content": text}


def plain(text: str) -> str:
    """Bring a short answer to the form in which answers are compared: lower case, no full stop at its end."""
    return " ".join(text.split()).removesuffix(".").casefold()


def similarity(left: str, right: str) -> float:
    """Tell how alike two texts are, character by character: 1 for the same, 0 for nothing in common."""
    return SequenceMatcher(None, left, right, autojunk=False).ratio()
