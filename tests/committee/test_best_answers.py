"""The best answer of all members wins its prompt; a prompt without a good one teaches nothing, and is counted."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from codling.artifact.workspace import SilentReporter, Workspace
from codling.committee.best_answers import (
    CHOICES_FILE,
    DEMONSTRATIONS_FILE,
    BestAnswersConfig,
    choose_best,
    run_best_answers,
)
from codling.committee.draw_prompts import TRAIN_FILE
from codling.committee.prompt_task import RewardWeights
from codling.committee.task_prompts import read_task_prompts, write_task_prompts
from codling.data.json_lines import read_objects
from codling.errors import UserError
from codling.posttrain.demonstrations import read_demonstrations
from codling.recipes.tiny import tiny
from tests.committee.made_committee import answered, ask, judge
from tests.conftest import Pair, TinyBuild

CONFIG = tiny().alignment.server_rounds[0].best_answers
PROMPTS = [ask("3 + 4?", expected="7"), ask("2 + 2?", expected="4"), ask("1 + 1?", expected="2")]


def lot(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_best_reward_of_all_members_wins(pair: Pair) -> None:
    answers = [
        [answered(pair, "a", "8"), answered(pair, "b", "It is 7.")],
        [answered(pair, "a", "4"), answered(pair, "b", "5")],
        [answered(pair, "a", "2", is_whole=False), answered(pair, "b", "3")],
    ]
    best = choose_best(judge(pair, PROMPTS), answers, lot())
    assert [(choice.answer.member, choice.reward, choice.check_score) for choice in best if choice] == [
        ("b", 1.0, 1.0),
        ("a", 1.0, 1.0),
        ("b", 0.0, 0.0),  # the whole one, as what was cut off is no answer
    ]


@pytest.mark.parametrize("seed", range(4))
def test_a_member_that_is_always_right_wins_everything(pair: Pair, seed: int) -> None:
    """Whatever the reward model thinks, as long as it thinks less of it than of the check."""
    right = [answered(pair, "right", text) for text in ("7", "4", "2")]
    others = [[answered(pair, name, "0"), answered(pair, name, "12")] for name in ("a", "b")]
    answers = [[*others[0], answer, *others[1]] for answer in right]
    task = judge(pair, PROMPTS, RewardWeights(check=1.0, reward_model=1e-3))
    assert [choice.answer for choice in choose_best(task, answers, lot(seed)) if choice] == right


def test_without_a_check_the_reward_model_decides(pair: Pair) -> None:
    task = judge(pair, [ask("How are you?", skill="talk")], RewardWeights(check=1.0, reward_model=1.0))
    answers = [[answered(pair, str(place), text) for place, text in enumerate(("Fine", "Well", "So so", "Tired"))]]
    rewards = task.score([0] * 4, [answer.ids for answer in answers[0]]).rewards
    [choice] = choose_best(task, answers, lot())
    assert choice is not None
    assert choice.answer is answers[0][int(np.argmax(rewards))]
    assert choice.reward == pytest.approx(rewards.max())
    assert np.isnan(choice.check_score)


def test_equal_answers_are_drawn_by_lot_and_the_lot_by_the_key(pair: Pair) -> None:
    prompts = [ask(f"{number} + 0?", expected=str(number)) for number in range(200)]
    answers = [[answered(pair, name, str(number)) for name in "abcd"] for number in range(200)]
    task = judge(pair, prompts)

    def winners(seed: int) -> list[str]:
        return [choice.answer.member for choice in choose_best(task, answers, lot(seed)) if choice]

    assert winners(0) == winners(0) != winners(1)
    assert all(30 < count < 70 for count in Counter(winners(0)).values())


def test_a_prompt_that_nobody_answered_has_no_best(pair: Pair) -> None:
    unusable = [[answered(pair, "a", "7", is_whole=False)], [], [answered(pair, "b", "2")]]
    best = choose_best(judge(pair, PROMPTS), unusable, lot())
    assert [choice is None for choice in best] == [True, True, False]
    assert choose_best(judge(pair, PROMPTS), [[], [], []], lot()) == [None] * 3


def run(tiny_build: TinyBuild, path: Path, config: BestAnswersConfig, prompts: Any) -> dict[str, Any]:
    inputs = tiny_build.inputs(
        committee="server_round1_committee",
        prompts="task_prompts",
        tokenizer="tokenizer",
        reward_model="server_round1_rewards",
    )
    (path / "prompts").mkdir(parents=True)
    write_task_prompts(path / "prompts" / TRAIN_FILE, prompts)
    inputs["prompts"] = inputs["prompts"]._replace(path=path / "prompts")
    return run_best_answers(config, inputs, Workspace("best", path, SilentReporter()), jax.random.key(0))


def test_a_rounds_demonstrations_are_its_choices(tiny_build: TinyBuild) -> None:
    for number in (1, 2):
        artifact = tiny_build.artifacts[f"server_round{number}_best"]
        metrics = artifact.manifest.metrics
        demonstrations = read_demonstrations(artifact.path / DEMONSTRATIONS_FILE)
        choices = [record for _, record in read_objects(artifact.path / CHOICES_FILE)]
        assert len(choices) == metrics["num_prompts"] == CONFIG.num_prompts
        kept = [choice for choice in choices if choice["is_kept"]]
        assert len(kept) == metrics["num_prompts"] - metrics["num_without_good_answer"]
        assert len(demonstrations) == metrics["num_demonstrations"] > 0
        assert len(kept) == len(demonstrations) + sum(metrics["num_guarded_out"].values())
        assert {one.prompt.id for one in demonstrations} <= {choice["prompt_id"] for choice in kept}
        wins = sum(sum(by_member.values()) for by_member in metrics["wins"].values())
        assert wins == len(kept)


def test_what_is_not_good_enough_and_what_has_no_room_is_left_out_and_counted(
    tiny_build: TinyBuild, tmp_path: Path
) -> None:
    pool = read_task_prompts(tiny_build.artifacts["task_prompts"].path / TRAIN_FILE)
    endless, impossible = ask("why? " * 1_100, expected="7"), ask("And how many?", expected="-9876.5")
    config = replace(CONFIG, num_prompts=len(pool) + 1, min_check_score=0.01)
    found = run(tiny_build, tmp_path / "a", config, [endless, *pool, impossible])
    assert (found["num_prompts"], found["num_prompts_without_room"]) == (len(pool) + 1, 1)
    assert found["num_without_good_answer"] >= 1
    kept = read_demonstrations(tmp_path / "a" / DEMONSTRATIONS_FILE)
    assert not {one.prompt.id for one in kept} & {endless.id, impossible.id}
    with pytest.raises(UserError, match="best: no prompt of 1 got an answer that is good enough to learn from"):
        run(tiny_build, tmp_path / "b", replace(CONFIG, min_check_score=1.0), [impossible])
    assert {path.name for path in (tmp_path / "b").iterdir()} == {"prompts"}


@pytest.mark.parametrize("changes", [{"num_prompts": 0}, {"min_check_score": 1.5}, {"min_check_score": -0.1}])
def test_bad_configurations_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"num_prompts must be >= 1, min_check_score within 0 and 1"):
        replace(CONFIG, **changes)


@pytest.mark.parametrize("temperature", [-0.5, float("inf"), float("nan")])
def test_a_temperature_that_cannot_be_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="it must be at least 0, and finite"):
        replace(CONFIG, temperature=temperature)
