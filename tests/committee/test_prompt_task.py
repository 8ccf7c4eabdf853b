"""Rewards are the weighted sum of checks and reward model; prompts are drawn by the shares of their skills."""

import jax
import numpy as np
import pytest

from codling.committee.draw_prompts import task_prompt
from codling.committee.prompt_task import PromptTask, RewardWeights
from codling.errors import UserError
from codling.posttrain.reward_answers import reward_answers
from codling.posttrain.task import Task
from codling.skills.arithmetic import Arithmetic
from codling.skills.formats import Formats
from codling.tokenizer.special_tokens import END
from tests.committee.made_committee import ask, judge, opinionated
from tests.conftest import Pair

EXAMPLES = [example for skill in (Arithmetic(), Formats()) for example in skill.examples("train", 20, 0)]
PROMPTS = [task_prompt(example) for example in EXAMPLES]
PLACES = list(range(len(PROMPTS)))
CHECKS_ALONE = RewardWeights(check=1.0, reward_model=0.0)


@pytest.fixture(scope="module")
def task(pair: Pair) -> PromptTask:
    return PromptTask(PROMPTS, pair.tokenizer, CHECKS_ALONE, share_by_skill={"arithmetic": 3.0, "formats": 1.0})


def spell(pair: Pair, text: str) -> list[int]:
    return [*pair.tokenizer.encode(text), END.id]


def test_it_is_what_online_training_asks_for(task: PromptTask) -> None:
    assert isinstance(task, Task)


def test_the_target_earns_everything_and_silence_nothing(pair: Pair, task: PromptTask) -> None:
    right = [spell(pair, example.target.text) for example in EXAMPLES]
    scores = task.score(PLACES, right)
    assert scores.rewards.tolist() == [1.0] * 40
    shapes = {name: part.shape for name, part in scores.parts.items()}
    assert shapes == {"check": (40,), "check_arithmetic": (20,), "check_formats": (20,)}
    assert not task.score(PLACES, [[END.id]] * 40).rewards.any()
    assert set(task.score([0], right[:1]).parts) == {"check", "check_arithmetic"}


def test_rewards_are_the_weighted_sum_of_their_parts(pair: Pair) -> None:
    prompts = [ask("3 + 4?", expected="7"), ask("How are you?", skill="talk"), ask("2 + 2?", expected="4")]
    answers = [spell(pair, text) for text in ("It is 7", "Fine", "5")]
    task = judge(pair, prompts, RewardWeights(check=2.0, reward_model=0.5))
    scores = task.score([0, 1, 2], answers)
    judged = reward_answers(opinionated(pair), task.prompts, answers)
    np.testing.assert_allclose(scores.rewards, np.asarray([2.0, 0.0, 0.0]) + 0.5 * judged, rtol=1e-6)
    assert np.abs(judged).min() > 1e-3
    np.testing.assert_allclose(scores.parts["model"], judged, rtol=1e-6)
    # Only what was checked has a part in the checks' mean.
    assert scores.parts["check"].tolist() == scores.parts["check_arithmetic"].tolist() == [1.0, 0.0]
    np.testing.assert_array_equal(task.checked([0, 1, 2], answers), [1.0, np.nan, 0.0])


def test_the_reward_model_alone_can_judge(pair: Pair) -> None:
    task = judge(pair, [ask("How are you?", skill="talk")], RewardWeights(check=0.0, reward_model=1.0))
    scores = task.score([0], [spell(pair, "Fine")])
    assert set(scores.parts) == {"model"}
    np.testing.assert_allclose(scores.rewards, scores.parts["model"])


def test_prompts_end_where_the_assistant_begins(pair: Pair, task: PromptTask) -> None:
    shown = pair.tokenizer.decode(task.prompts[0], show_special=True)
    assert EXAMPLES[0].request in shown
    assert shown.endswith("<|assistant|>")


def test_prompts_are_drawn_by_the_shares_of_their_skills(pair: Pair, task: PromptTask) -> None:
    chosen = task.choose(1000, jax.random.key(0))
    assert chosen == task.choose(1000, jax.random.key(0)) != task.choose(1000, jax.random.key(1))
    assert sum(place < 20 for place in chosen) / 1000 == pytest.approx(0.75, abs=0.05)
    assert set(chosen) == set(PLACES)
    as_they_occur = PromptTask(PROMPTS[:30], pair.tokenizer, CHECKS_ALONE).choose(1000, jax.random.key(0))
    assert sum(place < 20 for place in as_they_occur) / 1000 == pytest.approx(2 / 3, abs=0.05)


@pytest.mark.parametrize("weights", [(0.0, 0.0), (-1.0, 1.0), (1.0, -0.1), (float("inf"), 0.0), (float("nan"), 1.0)])
def test_weights_that_reward_nothing_or_backwards_are_refused(weights: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"nothing would be rewarded|must not be negative"):
        RewardWeights(check=weights[0], reward_model=weights[1])


def test_what_nothing_can_judge_is_refused(pair: Pair) -> None:
    bare = ask("How are you?", skill="talk")
    with pytest.raises(UserError, match=f"the talk prompt {bare.id} has no check; give the reward model a weight"):
        PromptTask([*PROMPTS, bare], pair.tokenizer, CHECKS_ALONE)
    with pytest.raises(UserError, match=r"the reward model weighs 0\.1, but there is none"):
        PromptTask(PROMPTS, pair.tokenizer, RewardWeights(reward_model=0.1))


def test_a_share_of_a_skill_without_prompts_is_named(pair: Pair) -> None:
    with pytest.raises(UserError, match=r"no prompts of the skill 'poems' \(there are: arithmetic, formats\)"):
        PromptTask(PROMPTS, pair.tokenizer, CHECKS_ALONE, share_by_skill={"poems": 1.0})
