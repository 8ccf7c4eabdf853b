"""Fine-tuning learns the assistant's tokens, each once and under dropout, and refuses rows beyond the context."""

from dataclasses import replace
from pathlib import Path

import jax
import pytest

from codling.artifact.model_files import load_model
from codling.artifact.workspace import SilentReporter, Workspace
from codling.data.mixture import MixtureWeights
from codling.data.prepare import open_corpus
from codling.errors import UserError
from codling.posttrain.near_duplicates import NearDuplicateConfig, remove_near_duplicates
from codling.posttrain.sft import run_sft
from codling.recipes.tiny import tiny
from tests.conftest import TinyBuild


def test_it_lowers_the_loss_of_the_skills(tiny_build: TinyBuild) -> None:
    metrics = tiny_build.artifacts["server_sft"].manifest.metrics
    assert metrics["heldout_after"]["nll_skills"] < metrics["heldout_before"]["nll_skills"]
    assert {"tool_calls", "intents", "story_answers", "stories"} <= set(metrics["heldout_after"]["nll_by_kind"])


def test_near_duplicates_are_removed_by_the_model_that_is_tuned_and_counted_by_skill(
    tiny_build: TinyBuild, tmp_path: Path
) -> None:
    near_duplicates = NearDuplicateConfig(threshold=0.95)
    config = replace(tiny().server_sft, near_duplicates=near_duplicates, dropout=0.1)
    inputs = tiny_build.inputs(tokens="tokens", model="server_long_context")
    metrics = run_sft(config, inputs, Workspace("x", tmp_path, SilentReporter()), jax.random.key(0))
    skills = ["formats", "intents", "story_answers", "tool_calls"]
    corpus, model = open_corpus(inputs["tokens"].path), load_model(inputs["model"].path)
    thinned, removed = remove_near_duplicates(near_duplicates, corpus, skills, model)
    assert metrics["num_near_duplicates_by_skill"] == removed
    assert set(removed) == set(skills)
    assert all(0 < removed[skill] < corpus.train[skill].num_documents for skill in skills)
    assert thinned.train["stories"] is corpus.train["stories"]
    assert metrics["heldout_after"]["nll_skills"] < metrics["heldout_before"]["nll_skills"]


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_dropout_that_drops_everything_or_less_than_nothing_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=r"dropout is .*, it must be at least 0 and below 1"):
        replace(tiny().server_sft, dropout=rate)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sequence_length_tokens": 4096}, "beyond the model's context of 1024 tokens"),
        ({"mixture": MixtureWeights(share_by_kind={"poems": 1.0})}, "mixture names the unknown kind 'poems'"),
        ({"sequence_length_tokens": 16}, "16"),
    ],
)
def test_bad_configurations_are_refused(
    tiny_build: TinyBuild, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    config = replace(tiny().server_sft, **change)  # type: ignore[arg-type]
    inputs = tiny_build.inputs(tokens="tokens", model="server_long_context")
    with pytest.raises(UserError, match=message):
        run_sft(config, inputs, Workspace("x", tmp_path, SilentReporter()), jax.random.key(0))
    assert not list(tmp_path.iterdir())
