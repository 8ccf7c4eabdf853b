"""Context-lengthening changes length and base, measures by position, and refuses to shorten."""

from dataclasses import replace
from pathlib import Path

import jax
import pytest

from codling.artifact.model_files import load_config
from codling.artifact.workspace import SilentReporter, Workspace
from codling.errors import UserError
from codling.pretrain.long_context import run_long_context
from codling.recipes.tiny import tiny
from tests.conftest import TinyBuild


def test_the_artifact_has_the_new_length_and_base(tiny_build: TinyBuild) -> None:
    before, after = (load_config(tiny_build.artifacts[f"server_{name}"].path) for name in ("continued", "long_context"))
    assert (before.context_length_tokens, before.rope_theta) == (256, 500_000.0)
    assert (after.context_length_tokens, after.rope_theta) == (1024, 6_315_089.0)


def test_every_stretch_of_positions_is_measured_before_and_after(tiny_build: TinyBuild) -> None:
    metrics = tiny_build.artifacts["server_long_context"].manifest.metrics
    stretches = [f"{low}-{low + 128}" for low in range(0, 1024, 128)]
    assert list(metrics["nll_by_position_before"]) == list(metrics["nll_by_position_after"]) == stretches


def test_a_length_that_is_not_longer_is_refused(tiny_build: TinyBuild, tmp_path: Path) -> None:
    config = tiny().server_long_context
    short = replace(config, text=replace(config.text, sequence_length_tokens=256))
    inputs = tiny_build.inputs(tokens="tokens", model="server_continued")
    with pytest.raises(UserError, match="must exceed the model's context of 256 tokens"):
        run_long_context(short, inputs, Workspace("x", tmp_path, SilentReporter()), jax.random.key(0))
    assert not list(tmp_path.iterdir())
