"""The protocol tells a task from what is none; every real task is tested beside its own code."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import PRNGKeyArray

from codling.posttrain.task import Task, TaskScores


class Silence:
    """Rewards short answers."""

    prompts = ((1, 2), (3,))

    def choose(self, count: int, key: PRNGKeyArray) -> list[int]:
        return [0] * count

    def score(self, places: Sequence[int], answers: Sequence[Sequence[int]]) -> TaskScores:
        rewards = np.asarray([-float(len(answer)) for answer in answers])
        return TaskScores(rewards, {"silence": rewards[:1]})


class Nothing:
    """Has prompts and no judge."""

    prompts = ((1, 2),)


def test_a_task_is_whatever_has_prompts_and_a_judge() -> None:
    assert isinstance(Silence(), Task)
    assert not isinstance(Nothing(), Task)


def test_parts_may_be_of_fewer_answers_than_rewards() -> None:
    rewards, parts = Silence().score([0, 1], [[5], [6, 7]])
    assert rewards.tolist() == [-1.0, -2.0]
    assert parts["silence"].tolist() == [-1.0]
