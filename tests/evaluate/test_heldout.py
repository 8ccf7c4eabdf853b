"""Held-out figures: means over kinds of text, skills apart."""

import pytest

from codling.artifact.model_files import load_model
from codling.data.prepare import open_corpus
from codling.evaluate.heldout import heldout_figures
from tests.conftest import TinyBuild


def test_means_are_over_text_and_skills_are_apart(tiny_build: TinyBuild) -> None:
    corpus = open_corpus(tiny_build.artifacts["tokens"].path)
    model = load_model(tiny_build.artifacts["server_sft"].path)
    figures = heldout_figures(model, corpus, row_length_tokens=256, rows_per_kind=8, with_skills=True)
    by_kind = figures["nll_by_kind"]
    assert figures["nll"] == pytest.approx(sum(by_kind[kind] for kind in corpus.text_kinds) / 4)
    assert figures["nll_skills"] == pytest.approx(sum(by_kind[skill] for skill in corpus.skills) / 4)
    assert 0 <= figures["accuracy"] <= 1


def test_it_repeats_what_the_stage_wrote(tiny_build: TinyBuild) -> None:
    corpus = open_corpus(tiny_build.artifacts["tokens"].path)
    stage = tiny_build.artifacts["server_core"]
    figures = heldout_figures(load_model(stage.path), corpus, row_length_tokens=256, rows_per_kind=8)
    assert figures == stage.manifest.metrics["heldout_after"]
