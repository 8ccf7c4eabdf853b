import dataclasses

import numpy as np
import pytest

from codling.bench import train_side as module
from codling.bench.train_side import MODEL, build_ours
from codling.model.count import count_parameters


def test_the_model_has_the_size_that_the_goal_was_set_for() -> None:
    assert round(count_parameters(MODEL).total / 10**6, 1) == 6.8


def test_our_side_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    small = dataclasses.replace(MODEL, vocab_size=61, model_dim=16, ffn_dim=24, num_layers=1, head_dim=8)
    monkeypatch.setattr(module, "MODEL", small)
    monkeypatch.setattr(module, "LEARNING_RATE", 0.03)
    train_one_step = build_ours()
    tokens = np.random.default_rng(0).integers(0, 61, size=(2, 9)).astype(np.int32)
    losses = [train_one_step(tokens) for _ in range(20)]
    assert losses[-1] < losses[0] / 2
