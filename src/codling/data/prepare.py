"""A tokenizer from corpus and conversations, and both in that tokenizer's tokens.

tokenizer artifact:  tokenizer.model
tokens artifact:     tokenizer.model, train/<kind>/, heldout/<kind>/ (a kind of text, a skill, or, in training only,
                     a kind of questions)
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32, PRNGKeyArray

from codling.artifact.stage import Inputs
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.data.conversations import load_conversations
from codling.data.long_questions import QuestionsConfig, write_training_documents
from codling.data.mixture import MixtureWeights
from codling.data.pack import PackedRows
from codling.data.sources import CorpusConfig, Split, load_corpus
from codling.data.tokens import (
    TokenizedDocuments,
    join_documents,
    load_tokens,
    save_tokens,
    tokenize_documents,
)
from codling.tokenizer.chat_template import EncodedChat, encode_chat
from codling.tokenizer.encode import MODEL_FILE, Tokenizer
from codling.tokenizer.imported import TextTokenizer
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
    questions: dict[str, QuestionsConfig]
    """Kind -> long question answering that is made from the corpus."""


def run_tokenizer(config: TokenizerStageConfig, inputs: Inputs, out: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
    """Learn the vocabulary from the training text of all kinds and skills. Inputs: conversations."""
    documents = [text for texts in load_corpus(config.corpus, "train").values() for text in texts]
    spoken = [
        json.dumps(message.get("tool_calls") or message["content"], ensure_ascii=False, separators=(",", ":"))
        for examples in load_conversations(inputs["conversations"].path, "train").values()
        for example in examples
        for message in example.messages
    ]
    with out.progress(1) as progress:
        model = train_tokenizer([*documents, *spoken], config.tokenizer)
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
    """Encode both splits of every kind and skill. Inputs: tokenizer, conversations."""
    tokenizer = Tokenizer.load(inputs["tokenizer"].path)
    num_tokens: dict[str, dict[str, int]] = {}
    splits: tuple[Split, ...] = ("train", "heldout")
    with out.progress(len(splits)) as progress:
        for done, split in enumerate(splits, start=1):
            corpus = load_corpus(config.corpus, split)
            encoded = {kind: tokenize_documents(texts, tokenizer.encode_document) for kind, texts in corpus.items()}
            if split == "train":
                encoded |= {kind: _questions(tokenizer, kind, own, corpus) for kind, own in config.questions.items()}
            for skill, examples in load_conversations(inputs["conversations"].path, split).items():
                chats = [encode_chat(tokenizer, example.messages, example.tools or None) for example in examples]
                # A held-out conversation is judged on its answer alone, as its last turn is what a model is asked for.
                masks = [_last_turn(chat) if split == "heldout" else chat.loss_mask for chat in chats]
                encoded[skill] = join_documents([chat.ids for chat in chats], masks)
            for kind, documents in encoded.items():
                save_tokens(out.path / split / kind, documents)
                num_tokens.setdefault(kind, {})[split] = len(documents.tokens)
            progress.update(done)
    (out.path / MODEL_FILE).write_bytes(tokenizer.model)
    return {"num_tokens": num_tokens, "tokenizer_sha256": tokenizer.sha256}


def _questions(
    tokenizer: Tokenizer, kind: str, config: QuestionsConfig, corpus: dict[str, list[str]]
) -> TokenizedDocuments:
    encode, ends = tokenizer.encode, {"bos_id": tokenizer.bos_id, "eos_id": tokenizer.eos_id}
    documents = write_training_documents(config, kind, corpus, encode)
    return join_documents(*zip(*(document.encode(encode, **ends) for document in documents), strict=True))


def _last_turn(chat: EncodedChat) -> list[bool]:
    last_not_own = max((index for index, is_own in enumerate(chat.loss_mask) if not is_own), default=-1)
    return [is_own and index > last_not_own for index, is_own in enumerate(chat.loss_mask)]


class Corpus(NamedTuple):
    """A tokens artifact, opened."""

    tokenizer: Tokenizer
    train: dict[str, TokenizedDocuments]
    heldout: dict[str, TokenizedDocuments]

    @property
    def text_kinds(self) -> list[str]:
        """The kinds of plain text that it holds."""
        return [kind for kind, documents in self.heldout.items() if documents.loss_mask is None]

    @property
    def skills(self) -> list[str]:
        """The skills whose conversations it holds; only the assistant's tokens of these are learned."""
        return [kind for kind, documents in self.heldout.items() if documents.loss_mask is not None]

    def heldout_text(self, kind: str) -> list[str]:
        """The held-out documents of a kind of text."""
        tokens, offsets = self.heldout[kind].tokens, self.heldout[kind].offsets
        return [self.tokenizer.decode(tokens[begin:end].tolist()) for begin, end in pairwise(offsets)]

    def training_rows(
        self, mixture: MixtureWeights, *, row_length_tokens: int, seed: int, answer_weight: float = 1.0
    ) -> dict[str, PackedRows]:
        """Rows of every kind that the mixture names. Errors: `UserError` for a kind that is not here.

        A target of a kind of which only some tokens are learned has weight `answer_weight`, one of plain text 1.
        """
        mixture.check_kinds(self.train)
        return {kind: _pack(self.train[kind], row_length_tokens, seed, answer_weight) for kind in mixture.share_by_kind}

    def heldout_rows(self, kind: str, *, row_length_tokens: int) -> PackedRows:
        """Held-out rows of one kind: the same for every stage. Errors: `UserError` for a kind that is not here."""
        MixtureWeights(share_by_kind={kind: 1.0}).check_kinds(self.heldout)
        return _pack(self.heldout[kind], row_length_tokens, seed=0)


def _pack(documents: TokenizedDocuments, row_length_tokens: int, seed: int, answer_weight: float = 1.0) -> PackedRows:
    """Text is cut at the end of a row and goes on in the next; what has a loss mask stays whole."""
    return PackedRows(
        documents,
        row_length_tokens=row_length_tokens,
        seed=seed,
        split_documents=documents.loss_mask is None,
        masked_weight=answer_weight,
    )


def open_corpus(directory: Path) -> Corpus:
    """Open what `run_tokens` wrote; the arrays are mapped from disk."""
    splits = [
        {folder.name: load_tokens(folder) for folder in sorted((directory / split).iterdir())}
        for split in ("train", "heldout")
    ]
    return Corpus(Tokenizer.load(directory), *splits)


def token_lengths_bytes(tokenizer: TextTokenizer) -> Int32[np.ndarray, " V"]:
    """UTF-8 bytes of text that each token stands for; special tokens stand for none."""
    lengths = np.asarray([len(text) for text in tokenizer.token_bytes], np.int32)
    lengths[list(tokenizer.special_ids)] = 0
    return lengths
