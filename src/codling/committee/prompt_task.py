"""What answers to a round's prompts earn: checks and the reward model, added up by weight.

Where this sits in the recipe: the same rule picks the best answer of a prompt, rewards online training and elects the
next committee. A check that holds is worth a reward of 1; the reward model's unit is its own (nats of preference), so
that its weight says what a nat is worth against a check.
"""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from codling.committee.task_prompts import TaskPrompt
from codling.config import config
from codling.errors import UserError
from codling.evaluate.skills import read_answer
from codling.posttrain.reward_answers import reward_answers
from codling.posttrain.reward_model import RewardModel
from codling.posttrain.task import TaskScores
from codling.rewards.check import score
from codling.tokenizer.chat_template import encode_chat
from codling.tokenizer.encode import Tokenizer


@config
class RewardWeights:
    """What counts, and how much. Ours: the report's rewards are the reward model's (its weight 1, checks 0)."""

    check: float = 1.0
    """Of a prompt's own check, from 0 (wrong) to 1 (right); a prompt without one earns nothing by it."""
    reward_model: float = 0.0
    """Of the reward model's reward, a nat of preference."""

    def __post_init__(self) -> None:
        if not (0 <= self.check < np.inf and 0 <= self.reward_model < np.inf):
            raise ValueError("weights must not be negative, and finite")
        if self.check == self.reward_model == 0:
            raise ValueError("both weights are 0; nothing would be rewarded")


class PromptTask:
    """Prompts of a round with their judge: a `posttrain.task.Task`."""

    def __init__(
        self,
        prompts: Sequence[TaskPrompt],
        tokenizer: Tokenizer,
        weights: RewardWeights,
        reward_model: RewardModel | None = None,
        share_by_skill: Mapping[str, float] | None = None,
    ) -> None:
        """Shares say how often a skill is drawn, none below 0; no shares: as often as its prompts occur.

        Errors: `UserError` for a share of a skill without prompts, for a weight on a reward model that is not there,
        and where nothing at all can judge a prompt.
        """
        if weights.reward_model and reward_model is None:
            raise UserError(f"rewards: the reward model weighs {weights.reward_model}, but there is none")
        if not weights.reward_model and (bare := next((p for p in prompts if p.check is None), None)):
            raise UserError(f"rewards: the {bare.skill} prompt {bare.id} has no check; give the reward model a weight")
        self.task_prompts = tuple(prompts)
        self.prompts: Sequence[Sequence[int]] = [encode_prompt(tokenizer, prompt) for prompt in prompts]
        self._tokenizer, self._weights, self._reward_model = tokenizer, weights, reward_model
        skills = np.asarray([prompt.skill for prompt in prompts])
        self._places = {str(name): np.flatnonzero(skills == name) for name in np.unique(skills)}
        self._shares = dict(share_by_skill or {name: float(len(found)) for name, found in self._places.items()})
        if unknown := sorted(set(self._shares) - set(self._places)):
            raise UserError(f"no prompts of the skill '{unknown[0]}' (there are: {', '.join(self._places)})")

    def choose(self, count: int, key: PRNGKeyArray) -> list[int]:
        """Draw places of prompts: a skill by its share, then one of its prompts."""
        random = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
        shares = np.asarray(list(self._shares.values()))
        skills = random.choice(list(self._shares), size=count, p=shares / shares.sum())
        return [int(random.choice(self._places[skill])) for skill in skills]

    def checked(self, places: Sequence[int], answers: Sequence[Sequence[int]]) -> Float[np.ndarray, " B"]:
        """What the checks alone say, from 0 to 1; not a number where a prompt has none."""
        found = []
        for place, answer in zip(places, answers, strict=True):
            check = self.task_prompts[place].check
            found.append(np.nan if check is None else score(check, read_answer(self._tokenizer, answer)))
        return np.asarray(found, np.float64)

    def score(self, places: Sequence[int], answers: Sequence[Sequence[int]]) -> TaskScores:
        """What the answers to the prompts at these places earn; by source, and the checks by skill."""
        checked = self.checked(places, answers)
        rewards = self._weights.check * np.nan_to_num(checked)
        parts = {"check": checked[~np.isnan(checked)]} if self._weights.check else {}
        if self._reward_model is not None and self._weights.reward_model:
            judged = reward_answers(self._reward_model, [self.prompts[place] for place in places], answers)
            rewards = rewards + self._weights.reward_model * judged
            parts["model"] = judged.astype(np.float64)
        skills = np.asarray([self.task_prompts[place].skill for place in places])
        for name in self._places:
            if len(of_skill := checked[(skills == name) & ~np.isnan(checked)]):
                parts[f"check_{name}"] = of_skill
        return TaskScores(rewards, {name: values for name, values in parts.items() if len(values)})


def encode_prompt(tokenizer: Tokenizer, prompt: TaskPrompt) -> list[int]:
    """Spell a prompt as the model reads it, up to where it is to answer."""
    messages, tools = prompt.prompt.messages, prompt.prompt.tools or None
    return encode_chat(tokenizer, messages, tools, add_generation_prompt=True).ids
