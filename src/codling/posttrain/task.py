"""What a policy is trained on, as online training sees it: prompts in tokens, and what each answer earns."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, PRNGKeyArray


class TaskScores(NamedTuple):
    """What answers earned."""

    rewards: Float[np.ndarray, " B"]
    parts: dict[str, Float[np.ndarray, " N"]]
    """What the rewards are made of, and the same by skill: whatever is worth a curve of its own."""


@runtime_checkable
class Task(Protocol):
    """Prompts, and a judge of their answers."""

    prompts: Sequence[Sequence[int]]
    """In tokens, as the model reads them."""

    def choose(self, count: int, key: PRNGKeyArray) -> list[int]:
        """Draw places of prompts."""

    def score(self, places: Sequence[int], answers: Sequence[Sequence[int]]) -> TaskScores:
        """What the answers, in tokens, to the prompts at these places earn."""
