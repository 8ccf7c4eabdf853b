"""What stays is what the definition says; exact copies always go, and the order stays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codling.data.prepare import Corpus
from codling.data.tokens import join_documents
from codling.posttrain import near_duplicates
from codling.posttrain.near_duplicates import NearDuplicateConfig, indices_to_keep, remove_near_duplicates
from tests.conftest import Pair


def draw(seed: int, num_documents: int, num_dims: int = 3) -> np.ndarray:
    """Directions in few dimensions: many are alike, in chains, too."""
    vectors = np.random.default_rng(seed).normal(size=(num_documents, num_dims))
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(np.float32)


def brute_force(embeddings: np.ndarray, threshold: float) -> list[int]:
    kept: list[int] = []
    for index, embedding in enumerate(embeddings):
        if all(float(embedding @ embeddings[other]) <= threshold for other in kept):
            kept.append(index)
    return kept


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), num_documents=st.integers(0, 60), threshold=st.floats(0.5, 0.999))
def test_it_keeps_what_brute_force_keeps_in_blocks_of_any_size(seed: int, num_documents: int, threshold: float) -> None:
    embeddings = draw(seed, num_documents)
    expected = brute_force(embeddings, threshold)
    config = NearDuplicateConfig(threshold=threshold)
    with pytest.MonkeyPatch.context() as patch:
        for block in (1, 7, 1024):
            patch.setattr(near_duplicates, "BLOCK_DOCUMENTS", block)
            found = indices_to_keep(embeddings, config)
            # A similarity within rounding of the threshold may fall on either side.
            similarities = embeddings @ embeddings.T
            if not np.any(np.abs(similarities - threshold) < 1e-6):
                assert found.tolist() == expected


@pytest.mark.parametrize("threshold", [0.9, 0.9999])
def test_exact_copies_always_go_and_the_first_of_them_stays(threshold: float) -> None:
    distinct = np.eye(40, dtype=np.float32) @ np.linalg.qr(np.random.default_rng(0).normal(size=(40, 40)))[0].astype(
        np.float32
    )
    order = np.random.default_rng(1).permutation(np.repeat(np.arange(40), 5))
    firsts = sorted(np.unique(order, return_index=True)[1].tolist())
    assert indices_to_keep(distinct[order], NearDuplicateConfig(threshold=threshold)).tolist() == firsts


def test_one_that_is_like_a_document_that_went_but_unlike_those_that_stay_stays() -> None:
    angles = np.deg2rad([0.0, 10.0, 20.0])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    config = NearDuplicateConfig(threshold=float(np.cos(np.deg2rad(15.0))))
    assert indices_to_keep(embeddings, config).tolist() == [0, 2]


def test_removal_touches_the_named_kinds_only(pair: Pair) -> None:
    random = np.random.default_rng(0)
    once = [random.integers(0, pair.tokenizer.vocab_size, 12).tolist() for _ in range(5)]
    masks = [[False] * 6 + [True] * 6] * 10
    train = {kind: join_documents(once * 2, masks) for kind in ("songs", "poems")}
    corpus = Corpus(pair.tokenizer, train, {})
    thinned, removed = remove_near_duplicates(NearDuplicateConfig(threshold=0.9999), corpus, ["songs"], pair.model)
    assert removed == {"songs": 5}
    assert thinned.train["poems"] is train["poems"]
    for name, array in join_documents(once, masks[:5])._asdict().items():
        np.testing.assert_array_equal(getattr(thinned.train["songs"], name), array)
    assert corpus.train["songs"].num_documents == 10


@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.0, float("nan")])
def test_a_threshold_that_cannot_be_exceeded_or_always_is_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"it must be above 0 and at most 0\.9999"):
        NearDuplicateConfig(threshold=threshold)
