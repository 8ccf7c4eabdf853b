"""Core training starts from random weights of the recipe's shape."""

from dataclasses import replace
from pathlib import Path

import jax
import pytest

from codling.artifact.model_files import load_config
from codling.artifact.workspace import SilentReporter, Workspace
from codling.errors import UserError
from codling.pretrain.core import CoreConfig, run_core
from codling.recipes.tiny import tiny
from tests.conftest import TinyBuild


def test_the_model_has_the_recipes_shape(tiny_build: TinyBuild) -> None:
    assert load_config(tiny_build.artifacts["server_core"].path) == tiny().server_model
    assert load_config(tiny_build.artifacts["device_from_scratch"].path) == tiny().device_model


def test_training_lowers_the_held_out_loss(tiny_build: TinyBuild) -> None:
    metrics = tiny_build.artifacts["server_core"].manifest.metrics
    assert metrics["heldout_after"]["nll"] < metrics["heldout_before"]["nll"]


def test_a_vocabulary_other_than_the_tokenizers_is_refused(tiny_build: TinyBuild, tmp_path: Path) -> None:
    config = CoreConfig(model=replace(tiny().server_model, vocab_size=999), text=tiny().server_core)
    with pytest.raises(UserError, match=r"model\.vocab_size is 999, the tokenizer has 1024 tokens"):
        run_core(
            config, tiny_build.inputs(tokens="tokens"), Workspace("x", tmp_path, SilentReporter()), jax.random.key(0)
        )
    assert not list(tmp_path.iterdir())
