"""Near-duplicate removal: a document goes if an earlier one that stays is too much like it.

Source: arXiv 2407.21075 section 4.1 names de-duplication by embeddings of text; threshold and order are ours.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64

from codling.config import config
from codling.data.prepare import Corpus
from codling.data.tokens import select_documents
from codling.model.transformer import Transformer
from codling.posttrain.embed_documents import embed_documents

BLOCK_DOCUMENTS = 1024
"""Similarities of so many documents with as many others are alive at once."""


@config
class NearDuplicateConfig:
    """When two documents are too much alike."""

    threshold: float = 0.995
    """Cosine similarity above which the later document goes. Ours: mean hidden states of any two conversations are
    alike (median 0.84 between tool calls of the quickstart), so that only what lies close to 1 is a duplicate."""

    def __post_init__(self) -> None:
        # At 1 rounding would decide whether an exact copy goes.
        if not 0.0 < self.threshold <= 0.9999:
            raise ValueError(f"threshold is {self.threshold}, it must be above 0 and at most 0.9999")


class Deduplicated(NamedTuple):
    """A corpus without near-duplicates, and how many there were."""

    corpus: Corpus
    num_removed_by_kind: dict[str, int]


def remove_near_duplicates(
    config: NearDuplicateConfig, corpus: Corpus, kinds: list[str], model: Transformer
) -> Deduplicated:
    """Thin out the training documents of these kinds, each kind by itself, by embeddings of the model."""
    train, num_removed = dict(corpus.train), {}
    for kind in kinds:
        documents = corpus.train[kind]
        kept = indices_to_keep(embed_documents(model, documents), config)
        train[kind] = select_documents(documents, kept)
        num_removed[kind] = documents.num_documents - len(kept)
    return Deduplicated(corpus._replace(train=train), num_removed)


def indices_to_keep(embeddings: Float32[np.ndarray, "d D"], config: NearDuplicateConfig) -> Int64[np.ndarray, " k"]:
    """Indices of the documents that stay, in their order.

    A document goes if its similarity to an earlier one that stays is above the threshold: one that is like a document
    that went, and unlike all that stay, stays. Embeddings have length 1.
    Price: O(d * k) products, in blocks; on the host.
    """
    stays = np.ones(len(embeddings), np.bool_)
    for begin in range(0, len(embeddings), BLOCK_DOCUMENTS):
        block = embeddings[begin : begin + BLOCK_DOCUMENTS]
        is_new = np.ones(len(block), np.bool_)
        for earlier in range(0, begin, BLOCK_DOCUMENTS):
            kept = embeddings[earlier : earlier + BLOCK_DOCUMENTS][stays[earlier : earlier + BLOCK_DOCUMENTS]]
            is_new &= ~(block @ kept.T > config.threshold).any(axis=1)
        stays[begin : begin + BLOCK_DOCUMENTS] = _thin_out(block @ block.T > config.threshold, is_new)
    return np.flatnonzero(stays)


def _thin_out(is_alike: Bool[np.ndarray, "b b"], is_new: Bool[np.ndarray, " b"]) -> Bool[np.ndarray, " b"]:
    """Of a block's documents that are like none before the block those that are like none that stays within it."""
    stays = is_new.copy()
    for place in np.flatnonzero(is_new):
        stays[place] = not (is_alike[place, :place] & stays[:place]).any()
    return stays
