"""What layers are fed, next to inputs computed by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.data.loader import Batch
from codling.model.block import Block
from codling.model.transformer import Transformer
from codling.ondevice.input_moments import Hidden, advance, block_moments


def first_block(model: Transformer) -> Block:
    block: Block = jax.tree.map(lambda leaf: leaf[0], model.blocks)
    return block


def hidden_of(model: Transformer, batch: Batch) -> Hidden:
    tokens, positions, segment_ids = map(jnp.asarray, (batch.tokens, batch.positions, batch.segment_ids))
    return Hidden(model.embedding[tokens], positions, segment_ids)


def test_moments_are_those_of_the_inputs_without_padding(tiny_model: Transformer, small_batch: Batch) -> None:
    block, hidden = first_block(tiny_model), hidden_of(tiny_model, small_batch)
    shape = tiny_model.config
    moments = block_moments(block, [hidden], shape.head_dim, shape.rope_theta)
    is_token = np.asarray(small_batch.segment_ids) > 0
    normed = np.asarray(block.attention_norm(hidden.x))[is_token]
    expected = normed.T @ normed / is_token.sum()
    for name in ("attention.query", "attention.key", "attention.value"):
        np.testing.assert_allclose(moments[name], expected, rtol=1e-4, atol=1e-5)
    after = advance(block, hidden, shape.head_dim, shape.rope_theta)
    # What the FFN adds says what it was fed: x_after = x_between + FFN(norm(x_between)), solved the other way round.
    assert {name: found.shape for name, found in moments.items()} == {
        "attention.query": (16, 16),
        "attention.key": (16, 16),
        "attention.value": (16, 16),
        "attention.output": (32, 32),
        "feed_forward.gate": (16, 16),
        "feed_forward.up": (16, 16),
        "feed_forward.down": (24, 24),
    }
    np.testing.assert_array_equal(moments["feed_forward.gate"], moments["feed_forward.up"])
    assert after.x.shape == hidden.x.shape


def test_blocks_one_after_the_other_are_the_model(tiny_model: Transformer, small_batch: Batch) -> None:
    shape = tiny_model.config
    hidden = hidden_of(tiny_model, small_batch)
    for layer in range(shape.num_layers):
        block: Block = jax.tree.map(lambda leaf, layer=layer: leaf[layer], tiny_model.blocks)
        hidden = advance(block, hidden, shape.head_dim, shape.rope_theta)
    expected = tiny_model(
        jnp.asarray(small_batch.tokens), hidden.positions, hidden.segment_ids, rope_theta=shape.rope_theta
    )
    np.testing.assert_allclose(tiny_model.final_norm(hidden.x), expected, rtol=1e-4, atol=1e-5)


def test_rows_are_averaged_by_their_tokens(tiny_model: Transformer, small_batch: Batch) -> None:
    block, hidden = first_block(tiny_model), hidden_of(tiny_model, small_batch)
    shape = tiny_model.config
    whole = block_moments(block, [hidden], shape.head_dim, shape.rope_theta)
    rows = [Hidden(*(part[row : row + 1] for part in hidden)) for row in range(2)]
    parts = block_moments(block, rows, shape.head_dim, shape.rope_theta)
    for name, found in whole.items():
        np.testing.assert_allclose(parts[name], found, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layer", [0, 1])
def test_error_of_an_output_is_what_the_moments_say(tiny_model: Transformer, small_batch: Batch, layer: int) -> None:
    block: Block = jax.tree.map(lambda leaf: leaf[layer], tiny_model.blocks)
    hidden = hidden_of(tiny_model, small_batch)
    shape = tiny_model.config
    moments = block_moments(block, [hidden], shape.head_dim, shape.rope_theta)["attention.value"]
    change = np.random.default_rng(2).normal(size=block.attention.value.weight.shape)
    is_token = np.asarray(small_batch.segment_ids) > 0
    moved = np.asarray(block.attention_norm(hidden.x))[is_token] @ change.T
    assert np.trace(change @ moments @ change.T) == pytest.approx((moved**2).sum() / is_token.sum(), rel=1e-4)
