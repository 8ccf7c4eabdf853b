"""Accuracy by length and depth is of the right documents, and of models whose answers are known."""

from dataclasses import replace

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from codling.artifact.model_files import load_model
from codling.config import from_dict
from codling.data.long_questions import Category
from codling.data.prepare import Corpus, open_corpus
from codling.errors import UserError
from codling.evaluate.retrieval import (
    Probe,
    RetrievalConfig,
    place_probes,
    retrieval_figures,
    score_probes,
)
from codling.model.transformer import Transformer
from tests.conftest import TinyBuild

COUNTS: dict[Category, int] = {"one_fact": 2, "several_facts": 1, "overwritten_fact": 4}
CONFIG = RetrievalConfig(lengths_tokens=(128, 256), depths=(0.0, 0.5, 1.0), num_documents_by_category=COUNTS)


@pytest.fixture
def corpus(tiny_build: TinyBuild) -> Corpus:
    return open_corpus(tiny_build.artifacts["tokens"].path)


@pytest.fixture
def model(tiny_build: TinyBuild) -> Transformer:
    return load_model(tiny_build.artifacts["server_continued"].path)


def test_every_cell_of_every_category_has_its_share(corpus: Corpus, model: Transformer) -> None:
    figures = retrieval_figures(model, corpus, CONFIG)
    grid = (figures["lengths_tokens"], figures["depths"], figures["num_documents"])
    assert grid == ([128, 256], [0.0, 0.5, 1.0], COUNTS)
    assert figures["chance"] == 1 / len(CONFIG.words.values("heldout"))
    assert figures["chance_among_told"] == {"one_fact": 1.0, "several_facts": 0.25, "overwritten_fact": 0.5}
    for measure in ("choice", "exact"):
        assert list(figures[measure]) == list(COUNTS)
        for category, cells in figures[measure].items():
            assert np.shape(cells) == (2, 3)
            assert (np.asarray(cells) * COUNTS[category] % 1 == 0).all()


def test_it_measures_the_same_again(corpus: Corpus, model: Transformer) -> None:
    assert retrieval_figures(model, corpus, CONFIG) == retrieval_figures(model, corpus, CONFIG)


def test_scores_are_those_of_each_probe_alone(model: Transformer) -> None:
    """Packed into rows or not, and whatever the length of the answer: against a plain forward pass."""
    random = np.random.default_rng(0)
    choices = [20, 21, 22, 23]
    probes = []
    for length in (5, 30, 7, 12, 30, 3, 9, 11, 14, 6, 8, 21):
        ids = random.integers(10, 500, length).tolist()
        answer = [int(random.choice(choices)), *random.integers(10, 500, length % 3).tolist()][: length - 1]
        ids[-len(answer) :] = answer
        probes.append(Probe(ids, answer))
    # A probe whose answer is the model's own is found exactly.
    prompt = probes[0].ids[:4]
    own = int(np.asarray(logits_after(model, prompt)).argmax())
    probes.append(Probe([*prompt, own], [own]))
    choice, exact = score_probes(model, probes, [*choices, own])
    for index, probe in enumerate(probes):
        start = len(probe.ids) - len(probe.answer_ids)
        after = [np.asarray(logits_after(model, probe.ids[: start + k])) for k in range(len(probe.answer_ids))]
        assert exact[index] == all(logits.argmax() == id for logits, id in zip(after, probe.answer_ids, strict=True))
        rivals = [id for id in [*choices, own] if id != probe.answer_ids[0]]
        assert choice[index] == (after[0][probe.answer_ids[0]] > after[0][rivals].max())
    assert exact[-1]
    assert any(choice)
    assert not all(choice)


def logits_after(model: Transformer, ids: list[int]) -> jnp.ndarray:
    tokens = jnp.asarray([ids])
    positions = jnp.arange(len(ids))[None, :]
    hidden = model(tokens, positions, jnp.ones_like(tokens), rope_theta=model.config.rope_theta)
    return model.logits(hidden)[0, -1]


def test_values_that_begin_alike_are_never_told_apart(model: Transformer) -> None:
    choice, _ = score_probes(model, [Probe([5, 6, 20, 30], [20, 30])], [20, 20])
    assert choice == [False]


def test_a_model_that_says_nothing_finds_nothing(corpus: Corpus, model: Transformer) -> None:
    silent = eqx.tree_at(lambda m: m.embedding, model, jnp.zeros_like(model.embedding))
    figures = retrieval_figures(silent, corpus, replace(CONFIG, num_documents_by_category={"one_fact": 3}))
    assert {cell for row in figures["choice"]["one_fact"] for cell in row} == {0.0}


def test_rows_hold_every_probe_once_and_no_more_than_fits() -> None:
    probes = [Probe(list(range(1, n + 1)), [n]) for n in (4, 9, 3, 3, 6, 2)]
    placed = place_probes(probes)
    assert placed.tokens.shape[1] == 8
    for index, probe in enumerate(probes):
        own = placed.segment_ids == index + 1
        assert placed.tokens[own].tolist() == probe.ids[:-1]
        assert placed.positions[own].tolist() == list(range(len(probe.ids) - 1))
        assert np.flatnonzero(own.any(axis=1)).tolist() == [placed.row_of[index]]
        assert np.flatnonzero(own.any(axis=0))[-1] + 1 == placed.end_of[index]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lengths_tokens": []}, "at least one length"),
        ({"depths": [0.5, 1.5]}, "must lie between 0 and 1"),
        ({"num_documents_by_category": {}}, "one category"),
        ({"num_documents_by_category": {"one_fact": 0}}, "leave the category out"),
        ({"num_documents_by_category": {"poem": 1}}, "num_documents_by_category"),
    ],
)
def test_bad_grids_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_dict(
            RetrievalConfig, {"lengths_tokens": [128], "num_documents_by_category": COUNTS} | change, source="recipe"
        )


def test_unknown_filler_and_too_little_room_are_named(corpus: Corpus, model: Transformer) -> None:
    with pytest.raises(UserError, match="no text of kind 'poems' to hide facts in"):
        retrieval_figures(model, corpus, replace(CONFIG, filler_kinds=("poems",)))
    with pytest.raises(UserError, match="16 tokens are too few"):
        retrieval_figures(model, corpus, replace(CONFIG, lengths_tokens=(16,)))
