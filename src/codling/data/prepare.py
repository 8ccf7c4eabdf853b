"""The first two stages: a tokenizer from the corpus, and the corpus in that tokenizer's tokens.

    tokenizer artifact:  tokenizer.model
    tokens artifact:     tokenizer.model, token_bytes.npy, train/<kind>/, heldout/<kind>/
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32, PRNGKeyArray

from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.data.mixture import MixtureWeights
from codling.data.pack import PackedRows
from codling.data.sources import CorpusConfig, Split, load_corpus
from codling.data.tokens import TokenizedDocuments, load_tokens, save_tokens, tokenize_documents
from codling.errors import UserError
from codling.tokenizer.encode import MODEL_FILE, Tokenizer
from codling.tokenizer.special_tokens import SPECIAL_TOKENS
from codling.tokenizer.train import TokenizerConfig, train_tokenizer


@config
class TokenizerStageConfig:
    """Which text the vocabulary is learned from, and its size."""

    corpus: CorpusConfig
    tokenizer: TokenizerConfig
    corpus_sha256: str
    """What the corpus held when the recipe was resolved, so that changed text is a changed stage."""


@config
class TokensStageConfig:
    """Which text is encoded."""

    corpus: CorpusConfig
    corpus_sha256: str


def run_tokenizer(config: TokenizerStageConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Learn the vocabulary from the training text of all kinds."""
    documents = [text for texts in load_corpus(config.corpus, "train").values() for text in texts]
    with out.progress(1) as progress:
        model = train_tokenizer(documents, config.tokenizer)
        progress.update(1)
    (out.path / MODEL_FILE).write_bytes(model)
    tokenizer = Tokenizer.from_bytes(model)
    sample = documents[:: max(1, len(documents) // 200)]
    num_bytes = sum(len(text.encode()) for text in sample)
    return {
        "vocab_size": tokenizer.vocab_size,
        "bytes_per_token": num_bytes / sum(len(tokenizer.encode(text)) for text in sample),
        "sha256": tokenizer.sha256,
    }


def run_tokens(config: TokensStageConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Encode both splits of every kind."""
    tokenizer = Tokenizer.load(inputs["tokenizer"].path)
    corpora: dict[Split, dict[str, list[str]]] = {"train": load_corpus(config.corpus, "train")}
    corpora["heldout"] = load_corpus(config.corpus, "heldout")
    num_tokens: dict[str, dict[str, int]] = {}
    with out.progress(sum(len(kinds) for kinds in corpora.values())) as progress:
        done = 0
        for split, texts_by_kind in corpora.items():
            for kind, texts in texts_by_kind.items():
                documents = tokenize_documents(texts, tokenizer.encode_document)
                save_tokens(out.path / split / kind, documents)
                num_tokens.setdefault(kind, {})[split] = len(documents.tokens)
                progress.update(done := done + 1)
    (out.path / MODEL_FILE).write_bytes(tokenizer.model)
    return {"num_tokens": num_tokens, "tokenizer_sha256": tokenizer.sha256}


class Corpus(NamedTuple):
    """A tokens artifact, opened."""

    path: Path
    tokenizer: Tokenizer

    def kinds(self) -> list[str]:
        """The kinds of text it holds."""
        return sorted(folder.name for folder in (self.path / "train").iterdir())

    def documents(self, split: Split, kind: str) -> TokenizedDocuments:
        """One kind's documents, mapped from disk. Errors: `UserError` for a kind that it does not hold."""
        if kind not in self.kinds():
            raise UserError(f"no tokens of kind '{kind}'; the corpus holds {', '.join(self.kinds())}")
        return load_tokens(self.path / split / kind)

    def rows(self, split: Split, kind: str, *, row_length_tokens: int, seed: int) -> PackedRows:
        """One kind's documents packed into rows; conversations are never cut, text is."""
        documents = self.documents(split, kind)
        return PackedRows(
            documents, row_length_tokens=row_length_tokens, seed=seed, split_documents=documents.loss_mask is None
        )


    @property
    def is_conversations(self) -> bool:
        """Whether its documents are conversations, of which only the assistant's tokens are learned."""
        return self.documents("train", self.kinds()[0]).loss_mask is not None


def training_rows(
    corpora: Sequence[Corpus], mixture: MixtureWeights, *, row_length_tokens: int, seed: int
) -> dict[str, PackedRows]:
    """Rows of every kind that the mixture names, from whichever corpus holds it.

    Errors: `UserError` for a kind that none of them holds.
    """
    by_kind = {kind: corpus for corpus in corpora for kind in corpus.kinds()}
    mixture.check_kinds(by_kind)
    return {
        kind: by_kind[kind].rows("train", kind, row_length_tokens=row_length_tokens, seed=seed)
        for kind in mixture.share_by_kind
    }


def open_corpus(path: Path) -> Corpus:
    """Open what `run_tokens` (or the conversations stage) wrote."""
    return Corpus(path, Tokenizer.load(path))


def token_lengths_bytes(tokenizer: Tokenizer) -> Int32[np.ndarray, " V"]:
    """UTF-8 bytes of text that each token stands for; special tokens stand for none."""
    lengths = [len(text) for text in tokenizer.token_bytes]
    lengths[: len(SPECIAL_TOKENS)] = [0] * len(SPECIAL_TOKENS)
    return np.asarray(lengths, np.int32)
