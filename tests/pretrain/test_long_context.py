"""Context-lengthening changes length and base, measures by position, and refuses to shorten."""

from dataclasses import replace
from pathlib import Path

import jax
import pytest

from codling.artifact.model_files import load_config, load_model
from codling.artifact.workspace import SilentReporter, Workspace
from codling.data.prepare import open_corpus
from codling.errors import UserError
from codling.evaluate.retrieval import retrieval_figures
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


def test_retrieval_is_measured_before_and_after_on_the_same_texts(tiny_build: TinyBuild) -> None:
    metrics = tiny_build.artifacts["server_long_context"].manifest.metrics
    config = tiny().server_long_context.retrieval
    for when in ("before", "after"):
        figures = metrics[f"retrieval_{when}"]
        assert figures["lengths_tokens"] == list(config.lengths_tokens)
        assert set(figures["choice"]) == set(config.num_documents_by_category)
    assert metrics["retrieval_before"] == retrieval_of("server_continued", tiny_build)


def retrieval_of(stage: str, tiny_build: TinyBuild) -> dict[str, object]:
    corpus = open_corpus(tiny_build.artifacts["tokens"].path)
    return retrieval_figures(load_model(tiny_build.artifacts[stage].path), corpus, tiny().server_long_context.retrieval)


def test_a_grid_beyond_the_new_length_is_refused(tiny_build: TinyBuild, tmp_path: Path) -> None:
    config = tiny().server_long_context
    far = replace(config, retrieval=replace(config.retrieval, lengths_tokens=(256, 2048)))
    inputs = tiny_build.inputs(tokens="tokens", model="server_continued")
    with pytest.raises(UserError, match=r"goes up to 2048; it must not exceed text\.sequence_length_tokens, 1024"):
        run_long_context(far, inputs, Workspace("x", tmp_path, SilentReporter()), jax.random.key(0))
    assert not list(tmp_path.iterdir())
