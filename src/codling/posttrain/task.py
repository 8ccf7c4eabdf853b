"""What a policy is trained on: prompts, a share of them by skill, and what each answer earns."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from codling.errors import UserError
from codling.evaluate.skills import read_answer
from codling.rewards.check import Check, score
from codling.rewards.tasks import check_of
from codling.skills.skill import Example
from codling.tokenizer.chat_template import encode_chat
from codling.tokenizer.encode import Tokenizer


class TaskScores(NamedTuple):
    """What answers earned."""

    rewards: Float[np.ndarray, " B"]
    parts: dict[str, Float[np.ndarray, " N"]]
    """The same by skill, for those that occur."""


class Task:
    """Prompts whose answers can be checked, of several skills."""

    def __init__(
        self, examples: Mapping[str, Sequence[Example]], share_by_skill: Mapping[str, float], tokenizer: Tokenizer
    ) -> None:
        """Errors: `UserError` for a skill without examples, or whose answers have no check."""
        if unknown := sorted(set(share_by_skill) - {name for name, found in examples.items() if found}):
            raise UserError(f"no examples of the skill '{unknown[0]}' (there are: {', '.join(sorted(examples))})")
        self._tokenizer = tokenizer
        self._shares = dict(share_by_skill)
        self._examples = [example for name in self._shares for example in examples[name]]
        self._checks: list[Check] = [check_of(example) for example in self._examples]
        self.prompts = [
            encode_chat(tokenizer, example.prompt, example.tools or None, add_generation_prompt=True).ids
            for example in self._examples
        ]
        skills = np.asarray([example.skill for example in self._examples])
        self._places = {name: np.flatnonzero(skills == name) for name in self._shares}

    def choose(self, count: int, key: PRNGKeyArray) -> list[int]:
        """Draw places of prompts: a skill by its share, then one of its prompts."""
        random = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
        shares = np.asarray(list(self._shares.values()))
        skills = random.choice(list(self._shares), size=count, p=shares / shares.sum())
        return [int(random.choice(self._places[skill])) for skill in skills]

    def score(self, places: Sequence[int], answers: Sequence[Sequence[int]]) -> TaskScores:
        """What the answers to the prompts at these places earn."""
        rewards = np.asarray(
            [
                score(self._checks[place], read_answer(self._tokenizer, answer))
                for place, answer in zip(places, answers, strict=True)
            ]
        )
        skills = np.asarray([self._examples[place].skill for place in places])
        return TaskScores(rewards, {str(name): rewards[skills == name] for name in np.unique(skills)})
