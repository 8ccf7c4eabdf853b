"""A reward model learns what pairs have in common, and says how well it knows it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from codling.artifact.workspace import SilentReporter, Workspace
from codling.posttrain.levels import Level
from codling.posttrain.preferences import PreferencePair
from codling.posttrain.reward_loss import Ranking, RewardLossConfig
from codling.posttrain.reward_model import RewardModel, init_reward_model
from codling.posttrain.train_rewards import (
    RewardModelConfig,
    calibration_error,
    grading_accuracy,
    reward_figures,
    train_reward_model,
)
from codling.train.adamw import AdamWConfig
from codling.train.loop import LoopConfig
from codling.train.metrics import read_metrics
from codling.train.optimizer import OptimizerConfig
from codling.train.schedule import ScheduleConfig
from tests.conftest import Pair
from tests.posttrain.polite_pairs import draw_pairs

CONFIG = RewardModelConfig(
    loop=LoopConfig(
        num_steps=30,
        batch_size_rows=16,
        optimizer=OptimizerConfig(schedule=ScheduleConfig(peak_rate=0.02, warmup_steps=2), rule=AdamWConfig()),
    ),
    row_length_tokens=48,
)


def run(
    pair: Pair, path: Path, config: RewardModelConfig = CONFIG, pairs: Sequence[PreferencePair] | None = None
) -> RewardModel:
    path.mkdir(exist_ok=True)
    found = draw_pairs(64, 0) if pairs is None else pairs
    workspace = Workspace("rewards", path, SilentReporter())
    return train_reward_model(config, pair.model, found, pair.tokenizer, workspace, jax.random.key(0))


def test_it_learns_and_says_how_well(pair: Pair, tmp_path: Path) -> None:
    heldout = draw_pairs(42, 1)
    before = reward_figures(CONFIG, init_reward_model(pair.model, jax.random.key(0)), heldout, pair.tokenizer)
    assert before["accuracy"] == 0.0  # equal rewards are no preference
    figures = reward_figures(CONFIG, run(pair, tmp_path / "rm"), heldout, pair.tokenizer)
    assert figures["accuracy"] > 0.9
    assert set(figures["accuracy_by_level"]) == set(Level)
    assert figures["grading_accuracy"].keys() == {"Truthfulness"}
    assert figures["grading_accuracy"]["Truthfulness"] > 0.9
    assert 0.0 <= figures["calibration_error"] <= 1.0
    assert (figures["num_pairs"], figures["num_too_long"]) == (42, 0)
    logged = read_metrics(tmp_path / "rm")
    assert logged[-1]["rank_loss"] < logged[0]["rank_loss"]
    assert {"accuracy", "grading_loss"} <= set(logged[0])


@pytest.mark.parametrize("ranking", [Ranking.HARD, Ranking.MARGIN])
def test_the_other_rankings_learn_too_and_differ(pair: Pair, tmp_path: Path, ranking: Ranking) -> None:
    config = replace(CONFIG, loss=RewardLossConfig(ranking=ranking, grading_weight=0.0))
    model = run(pair, tmp_path / "rm", config)
    assert reward_figures(config, model, draw_pairs(40, 1), pair.tokenizer)["accuracy"] > 0.9
    assert not np.asarray(model.grader_out).any()  # without weight the graders learn nothing


def test_soft_labels_bound_the_margin(pair: Pair, tmp_path: Path) -> None:
    """The loss of p = 0.65 is least at a margin of log(0.65 / 0.35)."""
    negligible = [replace(one, level=Level.NEGLIGIBLY_BETTER) for one in draw_pairs(64, 0)]
    final = {}
    for ranking in (Ranking.SOFT, Ranking.HARD):
        config = replace(CONFIG, loss=RewardLossConfig(ranking=ranking))
        run(pair, tmp_path / ranking, config, negligible)
        final[ranking] = read_metrics(tmp_path / ranking)[-1]["rank_loss"]
    entropy = -(0.65 * np.log(0.65) + 0.35 * np.log(0.35))
    assert final[Ranking.SOFT] == pytest.approx(entropy, abs=0.05)
    assert final[Ranking.HARD] < 0.3


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: replace(CONFIG, loop=replace(CONFIG.loop, batch_size_rows=7)), "a pair has two rows"),
        (lambda: RewardLossConfig(grading_weight=-1.0), "grading_weight is -1.0; it must not be negative"),
    ],
)
def test_bad_configurations_are_refused(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_calibration_error_is_the_distance_between_what_is_said_and_what_holds() -> None:
    sure = np.full(100, 4.0)
    assert calibration_error(sure, np.ones(100, bool)) == pytest.approx(1 - 1 / (1 + np.exp(-4)), abs=1e-6)
    unsure = np.zeros(100)
    assert calibration_error(unsure, np.arange(100) % 2 == 0) == pytest.approx(0.0)
    assert calibration_error(-sure, np.ones(100, bool)) == pytest.approx(1 / (1 + np.exp(-4)) - 0 - 1, abs=2)


def test_grading_accuracy_counts_the_grades_that_are_there() -> None:
    logits = np.zeros((2, 4, 3))
    logits[:, 1, 2] = 1.0
    assert grading_accuracy(logits, np.asarray([[-1, 2, -1, -1], [-1, 0, -1, 0]])) == {
        "Verbosity": 0.5,
        "Harmlessness": 1.0,
    }
