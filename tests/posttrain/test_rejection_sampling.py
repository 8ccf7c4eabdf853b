"""Rejection sampling learns the best answers, of each its last turn alone, and moves the model towards them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from codling.artifact.model_files import load_model
from codling.artifact.workspace import SilentReporter, Workspace
from codling.data.loader import Batch
from codling.data.mixture import MixtureWeights
from codling.errors import UserError
from codling.model.transformer import Transformer
from codling.posttrain import rejection_sampling as module
from codling.posttrain.demonstrations import Demonstration
from codling.posttrain.rejection_sampling import BEST_ANSWERS, RejectionSamplingConfig, train_on_best_answers
from codling.recipes.tiny import tiny
from codling.tokenizer.encode import Tokenizer
from codling.tokenizer.messages import Message
from codling.train.objective import last_hidden
from tests.conftest import TinyBuild

CONFIG = replace(
    tiny().alignment.server_rounds[0].rejection_sampling,
    mixture=MixtureWeights(share_by_kind={BEST_ANSWERS: 0.9, "stories": 0.1}),
)


def show(*turns: str) -> Demonstration:
    """The user begins, and the turns alternate."""
    roles = ("user", "assistant")
    messages = tuple(Message(role=roles[place % 2], content=turn) for place, turn in enumerate(turns))  # type: ignore[arg-type]
    return Demonstration(messages=messages, source="test", license="CC0-1.0")


SHOWN = [show("Hello?", "Yes.", "Which day is it?", "It is Sunday."), show("And now?", "Monday already.")]


class Trained:
    """What a run of the training left."""

    def __init__(self, tiny_build: TinyBuild, path: Path, config: RejectionSamplingConfig, shown: Any) -> None:
        path.mkdir(exist_ok=True)
        inputs, workspace = tiny_build.inputs(tokens="tokens"), Workspace("rs", path, SilentReporter())
        self.start = load_model(tiny_build.artifacts["server_sft"].path)
        self.metrics = train_on_best_answers(config, self.start, shown, inputs, workspace, jax.random.key(0))
        self.model: Transformer = load_model(path)


def test_only_the_last_answer_is_learned_from(tiny_build: TinyBuild) -> None:
    tokenizer = Tokenizer.load(tiny_build.artifacts["tokenizer"].path)
    documents, num_too_long = module._spell(SHOWN, tokenizer, 256)
    assert num_too_long == 0
    assert documents.num_documents == 2
    assert documents.loss_mask is not None
    for place, answer in enumerate(("It is Sunday.", "Monday already.")):
        part = slice(documents.offsets[place], documents.offsets[place + 1])
        tokens, mask = documents.tokens[part], documents.loss_mask[part]
        assert tokenizer.decode(tokens[mask].tolist()).strip() == answer
        first = int(np.argmax(mask))
        assert mask[first:].all()
        assert tokenizer.decode(tokens[:first].tolist(), show_special=True).endswith("<|assistant|>")
    assert "Yes." in tokenizer.decode(documents.tokens[: documents.offsets[1]].tolist())


def test_the_model_moves_towards_the_answers(tiny_build: TinyBuild, tmp_path: Path) -> None:
    loop = replace(CONFIG.loop, num_steps=12)
    trained = Trained(tiny_build, tmp_path, replace(CONFIG, loop=loop), [*SHOWN * 20, show("why? " * 400, "Because.")])
    assert (trained.metrics["num_demonstrations"], trained.metrics["num_too_long"]) == (41, 1)
    assert trained.metrics["num_tokens"] == 12 * loop.batch_size_rows * CONFIG.sequence_length_tokens
    assert not np.array_equal(trained.model.embedding, trained.start.embedding)
    tokenizer = Tokenizer.load(tiny_build.artifacts["tokenizer"].path)
    documents, _ = module._spell(SHOWN[1:], tokenizer, 256)
    losses = [_nll(model, documents) for model in (trained.start, trained.model)]
    assert losses[1] < losses[0]


def _nll(model: Transformer, documents: Any) -> float:
    """Mean over the tokens that are learned, of one document."""
    tokens = documents.tokens[None, :-1]
    places = np.arange(tokens.shape[1], dtype=np.int32)[None]
    batch = Batch(tokens, tokens, np.ones_like(tokens, np.float32), np.ones_like(tokens), places)
    logits = np.asarray(model.logits(last_hidden(model, batch)))[0].astype(np.float64)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    targets, mask = documents.tokens[1:], documents.loss_mask[1:]
    return float(-log_probs[np.arange(len(targets)), targets][mask].mean())


def test_what_fits_no_row_is_an_error_before_anything_is_written(tiny_build: TinyBuild, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rs: none of 1 conversations fits 256 tokens"):
        Trained(tiny_build, tmp_path, CONFIG, [show("why? " * 400, "Because.")])
    assert not list(tmp_path.iterdir())


def test_a_mixture_without_best_answers_is_refused() -> None:
    with pytest.raises(ValueError, match="has no share of 'best_answers', which is what this stage is for"):
        replace(CONFIG, mixture=MixtureWeights(share_by_kind={"stories": 1.0}))
