"""Tokens of text and of conversations: nothing lost, only the assistant's own tokens to be learned."""

import numpy as np
import pytest

from codling.data.mixture import MixtureWeights
from codling.data.prepare import open_corpus, token_lengths_bytes
from codling.data.sources import load_documents
from codling.errors import UserError
from tests.conftest import TinyBuild


def test_text_comes_back_from_its_tokens(tiny_build: TinyBuild) -> None:
    corpus = open_corpus(tiny_build.artifacts["tokens"].path)
    documents = corpus.heldout["stories"]
    first = documents.tokens[documents.offsets[0] : documents.offsets[1]].tolist()
    assert corpus.tokenizer.decode(first) == load_documents("stories", "heldout")[0]


def test_kinds_and_skills_are_told_apart(tiny_build: TinyBuild) -> None:
    corpus = open_corpus(tiny_build.artifacts["tokens"].path)
    assert corpus.text_kinds == ["guides", "stories", "tales", "textbooks"]
    assert corpus.skills == ["formats", "intents", "story_answers", "tool_calls"]


def test_a_held_out_conversation_is_judged_on_its_last_turn(tiny_build: TinyBuild) -> None:
    corpus = open_corpus(tiny_build.artifacts["tokens"].path)
    documents = corpus.heldout["tool_calls"]
    assert documents.loss_mask is not None
    for begin, end in zip(documents.offsets[:-1], documents.offsets[1:], strict=True):
        mask = np.asarray(documents.loss_mask[begin:end])
        assert mask[-1]
        assert (np.diff(mask.astype(int)) != 0).sum() == 1


def test_bytes_of_tokens_add_up_to_the_text(tiny_build: TinyBuild) -> None:
    tokenizer = open_corpus(tiny_build.artifacts["tokens"].path).tokenizer
    text = load_documents("tales", "heldout")[0]
    assert token_lengths_bytes(tokenizer)[tokenizer.encode_document(text)].sum() == len(text.encode())


def test_a_kind_that_is_not_there_is_named(tiny_build: TinyBuild) -> None:
    corpus = open_corpus(tiny_build.artifacts["tokens"].path)
    with pytest.raises(UserError, match="unknown kind 'poems'"):
        corpus.training_rows(MixtureWeights(share_by_kind={"poems": 1.0}), row_length_tokens=64, seed=0)
    with pytest.raises(UserError, match="unknown kind 'poems'"):
        corpus.heldout_rows("poems", row_length_tokens=64)
