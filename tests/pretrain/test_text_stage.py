"""What every pre-training stage leaves: metrics as they came, and its tokens counted."""

from dataclasses import replace
from pathlib import Path

import jax
import pytest

from codling.artifact.model_files import load_model
from codling.artifact.workspace import SilentReporter, Workspace
from codling.pretrain.text_stage import TextStageConfig, train_on_text
from codling.recipes.tiny import NUM_STEPS, tiny
from codling.train.metrics import read_metrics
from tests.conftest import TinyBuild


def test_every_step_has_its_record(tiny_build: TinyBuild) -> None:
    records = read_metrics(tiny_build.artifacts["server_core"].path)
    assert [record["step"] for record in records] == list(range(1, NUM_STEPS + 1))
    assert all(record["tokens_per_s"] > 0 and record["loss"] > 0 for record in records)


def test_tokens_are_steps_times_rows_times_length(tiny_build: TinyBuild) -> None:
    config = tiny().server_core
    assert isinstance(config, TextStageConfig)
    assert config.num_tokens == NUM_STEPS * 2 * 256
    assert tiny_build.artifacts["server_core"].manifest.metrics["num_tokens"] == config.num_tokens


def test_no_checkpoint_stays_behind(tiny_build: TinyBuild) -> None:
    assert not list(tiny_build.out.glob("stages/*/checkpoints"))


@pytest.mark.parametrize("stage", ["server_core", "server_continued", "device_distill"])
def test_held_out_figures_are_of_every_kind_of_text(tiny_build: TinyBuild, stage: str) -> None:
    figures = tiny_build.artifacts[stage].manifest.metrics["heldout_after"]
    assert set(figures["nll_by_kind"]) == {"guides", "stories", "tales", "textbooks"}
    assert figures["nll"] == pytest.approx(sum(figures["nll_by_kind"].values()) / 4)


class Listener(SilentReporter):
    """Remembers what it was warned of."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, name: str, message: str) -> None:
        self.warnings.append(message)


def test_rows_longer_than_the_rope_base_was_trained_for_are_warned_of(tiny_build: TinyBuild, tmp_path: Path) -> None:
    inputs, listener = tiny_build.inputs(tokens="tokens"), Listener()
    model = load_model(tiny_build.artifacts["server_core"].path)
    short = replace(model, config=replace(model.config, context_length_tokens=128))
    config = replace(tiny().server_core, loop=replace(tiny().server_core.loop, num_steps=1))
    for tried in (model, short):
        out = Workspace("x", tmp_path / str(tried.config.context_length_tokens), listener)
        out.path.mkdir()
        train_on_text(config, tried, inputs, out, jax.random.key(0))
    [warning] = listener.warnings
    assert warning.startswith("rows are 256 tokens long; rope_theta 500,000 was trained to 128")
