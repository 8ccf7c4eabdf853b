"""A laptop's round: its stages have the sizes asked for, and everybody is judged by the same rewards."""

import pytest

from codling.committee.round import RoundConfig
from codling.data.mixture import MixtureWeights
from codling.posttrain.rejection_sampling import BEST_ANSWERS
from codling.posttrain.tune_preferences import DpoConfig, IpoConfig
from codling.recipes.rounds import REWARDS, laptop_round
from codling.train.loop import LoopConfig
from codling.train.optimizer import OptimizerConfig
from codling.train.schedule import ScheduleConfig


@pytest.fixture(scope="module")
def one() -> RoundConfig:
    return laptop_round(
        MixtureWeights(share_by_kind={"tool_calls": 3.0, BEST_ANSWERS: 1.0}),
        LoopConfig(num_steps=5, batch_size_rows=4, optimizer=OptimizerConfig(schedule=ScheduleConfig(peak_rate=1e-3))),
        num_pair_prompts=10,
        num_best_prompts=20,
        num_preference_steps=6,
        num_online_iterations=7,
        row_length_tokens=128,
    )


def test_sizes_are_those_asked_for(one: RoundConfig) -> None:
    assert one.dpo is not None
    assert one.ipo is not None
    assert one.mdloo is not None
    assert (one.pairs.num_prompts, one.best_answers.num_prompts) == (10, 20)
    assert one.rejection_sampling.loop.num_steps == 5
    assert {stage.loop.num_steps for stage in (one.dpo, one.ipo, one.rewards.training)} == {6}
    assert one.mdloo.training.num_iterations == 7
    rows = {
        one.rejection_sampling.sequence_length_tokens,
        one.rewards.training.row_length_tokens,
        one.dpo.row_length_tokens,
        one.ipo.row_length_tokens,
        one.best_answers.guards.row_length_tokens,
    }
    assert rows == {128}


def test_all_four_methods_are_trained_and_judged_by_the_same_rewards(one: RoundConfig) -> None:
    assert one.dpo is not None
    assert one.ipo is not None
    assert one.mdloo is not None
    assert isinstance(one.dpo.loss, DpoConfig)
    assert isinstance(one.ipo.loss, IpoConfig)
    assert one.best_answers.rewards == one.mdloo.rewards == one.election_rewards == REWARDS


def test_answers_are_as_long_when_they_are_learned_from_as_when_they_are_judged(one: RoundConfig) -> None:
    assert one.mdloo is not None
    asked = (one.pairs.rollout, one.best_answers.rollout, one.mdloo.training.rollout)
    assert {rollout.max_answer_tokens for rollout in asked} == {one.max_answer_tokens}
