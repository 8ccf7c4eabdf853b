"""Divergence between two models against a plain computation over the whole vocabulary."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.data.loader import Batch
from codling.data.pack import PackedRows
from codling.data.tokens import join_documents
from codling.evaluate.divergence import measure_divergence
from codling.evaluate.score import first_rows
from codling.model.config import ModelConfig
from codling.model.transformer import Transformer

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def moved(tiny_model: Transformer) -> Transformer:
    random = np.random.default_rng(1)
    moved: Transformer = jax.tree.map(
        lambda leaf: leaf + jnp.asarray(0.1 * random.normal(size=leaf.shape), leaf.dtype), tiny_model
    )
    return moved


def batches(config: ModelConfig, batch_size_rows: int = 2) -> list[Batch]:
    random = np.random.default_rng(0)
    texts = [random.integers(0, config.vocab_size, length).tolist() for length in (5, 30, 12, 7, 20, 9)]
    rows = PackedRows(join_documents(texts), row_length_tokens=16, seed=0, split_documents=True)
    return list(first_rows(rows, 100, batch_size_rows))


def log_probs(model: Transformer, batch: Batch) -> np.ndarray:
    inputs = (jnp.asarray(x) for x in (batch.tokens, batch.positions, batch.segment_ids))
    logits = np.asarray(model.logits(model(*inputs, rope_theta=model.config.rope_theta)), np.float64)
    values: np.ndarray = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return values


def test_all_figures_match_a_plain_computation(
    tiny_config: ModelConfig, tiny_model: Transformer, moved: Transformer
) -> None:
    nll, nats, agree = [], [], []
    for batch in batches(tiny_config):
        ours, dense, counted = log_probs(moved, batch), log_probs(tiny_model, batch), batch.loss_weights > 0
        nll += list(-np.take_along_axis(ours, batch.targets[..., None], -1)[..., 0][counted])
        nats += list((np.exp(dense) * (dense - ours)).sum(-1)[counted])
        agree += list((ours.argmax(-1) == dense.argmax(-1))[counted])
    found = measure_divergence(moved, tiny_model, batches(tiny_config))
    assert found.num_tokens == len(nats) == 5 + 30 + 12 + 7 + 20 + 9 - 6
    assert found.perplexity == pytest.approx(np.exp(np.mean(nll)), rel=TOLERANCE)
    assert found.mean_nats == pytest.approx(np.mean(nats), rel=TOLERANCE)
    assert found.tail_nats == pytest.approx(np.percentile(nats, 99), rel=TOLERANCE)
    assert found.top_1_agreement == pytest.approx(np.mean(agree))
    assert 0 < found.top_1_agreement < 1


def test_a_model_does_not_diverge_from_itself(tiny_config: ModelConfig, tiny_model: Transformer) -> None:
    found = measure_divergence(tiny_model, tiny_model, batches(tiny_config))
    assert (found.mean_nats, found.tail_nats) == pytest.approx((0, 0), abs=1e-6)
    assert found.top_1_agreement == 1


def test_batch_size_does_not_change_a_figure(
    tiny_config: ModelConfig, tiny_model: Transformer, moved: Transformer
) -> None:
    one, four = (measure_divergence(moved, tiny_model, batches(tiny_config, size)) for size in (1, 4))
    assert one == pytest.approx(four, rel=TOLERANCE)


def test_only_positions_with_a_loss_weight_count(
    tiny_config: ModelConfig, tiny_model: Transformer, moved: Transformer
) -> None:
    (first, *_) = batches(tiny_config)
    halved = first._replace(loss_weights=np.where(np.arange(16) < 8, first.loss_weights, 0))
    found = measure_divergence(moved, tiny_model, [halved])
    assert found.num_tokens == (halved.loss_weights > 0).sum() < (first.loss_weights > 0).sum()
    assert found.mean_nats != pytest.approx(measure_divergence(moved, tiny_model, [first]).mean_nats)
    with pytest.raises(ValueError, match="no position"):
        measure_divergence(moved, tiny_model, [first._replace(loss_weights=np.zeros_like(first.loss_weights))])
