"""A model trained on pairs comes to prefer what they prefer, and starts where its reference is."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from codling.artifact.workspace import SilentReporter, Workspace
from codling.config import from_dict
from codling.errors import UserError
from codling.posttrain.tune_preferences import (
    DpoConfig,
    IpoConfig,
    PreferenceLoss,
    PreferenceTuningConfig,
    tune_preferences,
)
from codling.train.adamw import AdamWConfig
from codling.train.loop import LoopConfig
from codling.train.metrics import read_metrics
from codling.train.optimizer import OptimizerConfig
from codling.train.schedule import ScheduleConfig
from tests.conftest import Pair
from tests.posttrain.polite_pairs import draw_pairs

CONFIG = PreferenceTuningConfig(
    loop=LoopConfig(
        num_steps=12,
        batch_size_rows=16,
        optimizer=OptimizerConfig(schedule=ScheduleConfig(peak_rate=0.01, warmup_steps=1), rule=AdamWConfig()),
        log_every_steps=1,
    ),
    row_length_tokens=48,
)


@pytest.mark.parametrize(
    ("loss", "first"),
    [(DpoConfig(), np.log(2)), (DpoConfig(label_smoothing=0.1), np.log(2)), (IpoConfig(tau=0.5), 1.0)],
    ids=["dpo", "smoothed", "ipo"],
)
def test_it_comes_to_prefer_the_better_answers(pair: Pair, tmp_path: Path, loss: PreferenceLoss, first: float) -> None:
    workspace = Workspace("dpo", tmp_path, SilentReporter())
    config = replace(CONFIG, loss=loss)
    tuned = tune_preferences(config, pair.model, draw_pairs(64, 0), pair.tokenizer, workspace, jax.random.key(0))
    logged = read_metrics(tmp_path)
    # The model is its own reference at first: log 2 for DPO, (1 / (2 tau))^2 for IPO.
    assert logged[0]["loss"] == pytest.approx(first, rel=1e-4)
    assert logged[0]["reward_margin"] == pytest.approx(0.0, abs=1e-3)
    assert logged[-1]["loss"] < 0.8 * first
    assert logged[-1]["accuracy"] > 0.9
    moved = jax.tree.map(lambda new, old: float(np.abs(new - old).max()), tuned, pair.model)
    assert max(jax.tree.leaves(moved)) > 0


@pytest.mark.parametrize("loss", [{"name": "orpo"}, {"name": "ipo", "beta": 0.1}])
def test_an_option_of_another_loss_is_refused_and_never_ignored(loss: dict[str, object]) -> None:
    values = {"loop": {}, "row_length_tokens": 8, "loss": loss}
    with pytest.raises(UserError, match=r"orpo|beta"):
        from_dict(PreferenceTuningConfig, values, source="recipe")
