"""An embedding is the mean hidden state of its document alone, whatever it is batched and padded with."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.data.tokens import TokenizedDocuments, join_documents
from codling.errors import UserError
from codling.model.transformer import Transformer
from codling.posttrain import embed_documents as module
from codling.posttrain.embed_documents import embed_documents
from tests.conftest import Pair

TOLERANCE = 1e-4
LENGTHS = (1, 7, 32, 33, 40, 64, 97)


def draw(pair: Pair, lengths: tuple[int, ...] = LENGTHS) -> TokenizedDocuments:
    random = np.random.default_rng(0)
    return join_documents([random.integers(0, pair.tokenizer.vocab_size, length).tolist() for length in lengths])


@eqx.filter_jit
def run(model: Transformer, rows: np.ndarray) -> jax.Array:
    places = jnp.broadcast_to(jnp.arange(rows.shape[1]), rows.shape)
    return model(jnp.asarray(rows), places, jnp.ones(rows.shape, jnp.int32), rope_theta=model.config.rope_theta)


def test_it_is_the_mean_hidden_state_of_the_document_alone(pair: Pair) -> None:
    documents = draw(pair)
    embeddings = embed_documents(pair.model, documents)
    assert embeddings.shape == (len(LENGTHS), pair.model.config.model_dim)
    rows = np.zeros((len(LENGTHS), max(LENGTHS)), np.int32)
    for index, length in enumerate(LENGTHS):
        rows[index, :length] = documents.tokens[documents.offsets[index] :][:length]
    # What follows a document is later than all of it, so that it does not matter.
    hidden = np.asarray(run(pair.model, rows))
    for index, length in enumerate(LENGTHS):
        mean = hidden[index, :length].mean(axis=0)
        np.testing.assert_allclose(embeddings[index], mean / np.linalg.norm(mean), atol=TOLERANCE)


def test_few_lengths_are_compiled_and_batches_bound_the_tokens(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_TOKENS", 128)
    shapes: set[tuple[int, ...]] = set()
    embed = module._embed

    def noted(model: object, rows: np.ndarray, lengths: np.ndarray) -> object:
        shapes.add(rows.shape)
        return embed(model, rows, lengths)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_embed", noted)
    in_small_batches = embed_documents(pair.model, draw(pair, LENGTHS * 3))
    assert shapes == {(4, 32), (2, 64), (1, 128)}
    # The documents are others where they are drawn three times; the first of them are the same.
    np.testing.assert_allclose(
        in_small_batches[: len(LENGTHS)], embed_documents(pair.model, draw(pair)), atol=TOLERANCE
    )


def test_no_documents_have_no_embeddings(pair: Pair) -> None:
    assert embed_documents(pair.model, join_documents([])).shape == (0, pair.model.config.model_dim)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [((5, 0), "document 1 has no tokens"), ((5, 98), "document 1 of 98 tokens is beyond the model's context of 96")],
)
def test_documents_that_cannot_be_embedded_are_named(pair: Pair, lengths: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        embed_documents(pair.model, draw(pair, lengths))
