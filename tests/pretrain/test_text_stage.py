"""What every pre-training stage leaves: metrics as they came, and its tokens counted."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from codling.artifact.model_files import load_model
from codling.artifact.workspace import SilentReporter, Workspace
from codling.data.loader import Batch
from codling.data.mixture import MixtureWeights
from codling.data.prepare import open_corpus
from codling.data.tokens import select_documents
from codling.errors import UserError
from codling.model.dropout import Dropout
from codling.model.execution import PLAIN
from codling.pretrain.text_stage import TextStageConfig, loss_with_dropout, next_token_loss, train_on_text
from codling.recipes.tiny import NUM_STEPS, tiny
from codling.train.metrics import read_metrics
from codling.train.objective import next_token
from tests.conftest import Pair, TinyBuild


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


def test_a_corpus_of_the_callers_own_is_read_instead(tiny_build: TinyBuild, tmp_path: Path) -> None:
    inputs = tiny_build.inputs(tokens="tokens")
    corpus, model = open_corpus(inputs["tokens"].path), load_model(tiny_build.artifacts["server_core"].path)
    few = select_documents(corpus.train["intents"], np.arange(10))
    changed = corpus._replace(train=corpus.train | {"best_answers": few})
    mixture = MixtureWeights(share_by_kind={"best_answers": 0.5, "stories": 0.5})
    config = replace(tiny().server_core, mixture=mixture, loop=replace(tiny().server_core.loop, num_steps=2))
    out = Workspace("x", tmp_path, SilentReporter())
    with pytest.raises(UserError, match="mixture names the unknown kind 'best_answers'"):
        train_on_text(config, model, inputs, out, jax.random.key(0))
    assert not list(tmp_path.iterdir())
    metrics = train_on_text(config, model, inputs, out, jax.random.key(0), corpus=changed, with_skills=True)
    assert "best_answers" not in metrics["heldout_after"]["nll_by_kind"]
    assert metrics["heldout_after"]["nll_by_kind"] != metrics["heldout_before"]["nll_by_kind"]


def test_equal_rates_have_one_loss_and_none_the_plain_one() -> None:
    assert loss_with_dropout(0.0) is next_token_loss
    assert loss_with_dropout(0.1) is loss_with_dropout(0.1)
    assert loss_with_dropout(0.1) is not loss_with_dropout(0.2)


def test_dropout_is_drawn_from_the_steps_key(pair: Pair) -> None:
    tokens = np.random.default_rng(0).integers(0, pair.tokenizer.vocab_size, (2, 9)).astype(np.int32)
    ones, places = np.ones((2, 8), np.int32), np.tile(np.arange(8, dtype=np.int32), (2, 1))
    batch, key = Batch(tokens[:, :-1], tokens[:, 1:], ones.astype(np.float32), ones, places), jax.random.key(3)
    found = jax.jit(lambda model: loss_with_dropout(0.3)(model, None, batch, key, PLAIN).value)(pair.model)
    expected = jax.jit(lambda model: next_token(model, batch, PLAIN, Dropout(key, 0.3)).value)(pair.model)
    assert float(found) == float(expected)
