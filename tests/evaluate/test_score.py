"""Scores of text against a plain computation over the whole vocabulary."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.data.pack import PackedRows
from codling.data.tokens import join_documents
from codling.evaluate.score import first_rows, nll_by_position, score_batches, score_tokens
from codling.model.config import ModelConfig
from codling.model.init import init_transformer
from codling.model.transformer import Transformer

CONFIG = ModelConfig(
    vocab_size=30,
    model_dim=16,
    ffn_dim=24,
    num_layers=2,
    num_query_heads=2,
    num_kv_heads=1,
    head_dim=8,
    context_length_tokens=16,
)
LENGTHS_BYTES = np.arange(30, dtype=np.int32) % 4


@pytest.fixture(scope="module")
def model() -> Transformer:
    return init_transformer(CONFIG, jax.random.key(0))


def packed() -> PackedRows:
    rng = np.random.default_rng(0)
    documents = join_documents([rng.integers(0, 30, length).tolist() for length in (5, 9, 12, 7, 20)])
    return PackedRows(documents, row_length_tokens=16, seed=0, split_documents=True)


def test_scores_match_a_plain_log_softmax(model: Transformer) -> None:
    (batch,) = first_rows(packed(), 100, 4)
    hidden = model(*(jnp.asarray(x) for x in (batch.tokens, batch.positions, batch.segment_ids)), rope_theta=500_000.0)
    logits = np.asarray(model.logits(hidden), np.float64)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -np.take_along_axis(log_probs, batch.targets[..., None], -1)[..., 0]
    scores = score_tokens(model, batch)
    np.testing.assert_allclose(scores.nll, expected, atol=1e-4)
    np.testing.assert_array_equal(scores.is_first_choice, logits.argmax(-1) == batch.targets)

    text = score_batches(model, [batch], LENGTHS_BYTES)
    weights = batch.loss_weights
    assert text.tokens == weights.sum() == 5 + 9 + 12 + 7 + 20 - 5
    assert text.nll_per_token == pytest.approx((expected * weights).sum() / weights.sum(), abs=1e-4)
    num_bytes = (LENGTHS_BYTES[batch.targets] * weights).sum()
    assert text.bits_per_byte == pytest.approx((expected * weights).sum() / math.log(2) / num_bytes, abs=1e-4)
    assert text.perplexity == pytest.approx(math.exp(text.nll_per_token))


def test_batch_size_does_not_change_a_score(model: Transformer) -> None:
    one, four = (score_batches(model, first_rows(packed(), 100, size), LENGTHS_BYTES) for size in (1, 4))
    assert one.nll_per_token == pytest.approx(four.nll_per_token, abs=1e-5)
    assert one.tokens == four.tokens


def test_position_buckets_average_to_the_whole(model: Transformer) -> None:
    (batch,) = first_rows(packed(), 100, 4)
    buckets = nll_by_position(model, [batch], (0, 4, 16))
    counts = [
        ((batch.positions >= low) & (batch.positions < high) & (batch.loss_weights > 0)).sum()
        for low, high in ((0, 4), (4, 16))
    ]
    whole = score_batches(model, [batch], LENGTHS_BYTES).nll_per_token
    assert np.average(list(buckets.values()), weights=counts) == pytest.approx(whole, abs=1e-5)
    assert list(buckets) == ["0-4", "4-16"]
