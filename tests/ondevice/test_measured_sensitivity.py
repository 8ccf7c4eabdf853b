"""Measured costs are those of a whole model with one matrix replaced."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.data.loader import Batch
from codling.model.transformer import Transformer
from codling.ondevice.input_moments import advance, embed
from codling.ondevice.measured_sensitivity import MEASURED_BATCHES, MeasuredSensitivity


def log_probs(model: Transformer, batch: Batch) -> np.ndarray:
    parts = (jnp.asarray(part) for part in (batch.tokens, batch.positions, batch.segment_ids))
    hidden = model(*parts, rope_theta=model.config.rope_theta)
    return np.asarray(jax.nn.log_softmax(model.logits(hidden)), np.float64)


def measured(model: Transformer, batches: list[Batch]) -> MeasuredSensitivity:
    before = [[embed(model.embedding, batch) for batch in batches]]
    for layer in range(model.config.num_layers):
        block = model.block(layer)
        before.append([advance(block, hidden, model.config.head_dim, model.config.rope_theta) for hidden in before[-1]])
    return MeasuredSensitivity(model, before)


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("part", ["attention.output", "feed_forward.gate"])
def test_they_are_the_divergence_of_the_whole_model(
    tiny_model: Transformer, small_batch: Batch, layer: int, part: str
) -> None:
    def weight_of(model: Transformer) -> jax.Array:
        block, name = part.split(".")
        weight: jax.Array = getattr(getattr(model.blocks, block), name).weight
        return weight

    noise = np.zeros(weight_of(tiny_model).shape, np.float32)
    noise[layer] = np.random.default_rng(0).normal(size=noise.shape[1:]) * 0.1
    other = eqx.tree_at(weight_of, tiny_model, weight_of(tiny_model) + noise)
    is_token = small_batch.segment_ids > 0
    before, after = log_probs(tiny_model, small_batch), log_probs(other, small_batch)
    expected = (np.exp(before) * (before - after)).sum(axis=-1)[is_token].mean()
    found = measured(tiny_model, [small_batch]).nats_per_token(layer, other.block(layer))
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-7)


def test_a_block_that_is_as_it_was_costs_nothing_and_never_less(tiny_model: Transformer, small_batch: Batch) -> None:
    found = [measured(tiny_model, [small_batch]).nats_per_token(layer, tiny_model.block(layer)) for layer in (0, 1)]
    assert all(0 <= one < 1e-6 for one in found)


def test_only_the_first_batches_are_run(tiny_model: Transformer, small_batch: Batch) -> None:
    other = small_batch._replace(tokens=small_batch.tokens[::-1].copy())
    changed = jax.tree.map(lambda leaf: leaf * 1.1, tiny_model.block(0))
    batches = [small_batch] * MEASURED_BATCHES
    few, many = (measured(tiny_model, rows).nats_per_token(0, changed) for rows in (batches, [*batches, other]))
    assert few == many
