"""A pruned model is its parent with the other hidden units silenced."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from codling.data.pack import Row
from codling.model.config import ModelConfig
from codling.model.init import init_transformer
from codling.model.packed_rows import PackedRows
from codling.model.rope import rotary
from codling.model.transformer import Transformer
from codling.pretrain.prune import best_units, keep_units, unit_scores

CONFIG = ModelConfig(
    vocab_size=40,
    model_dim=16,
    ffn_dim=12,
    num_layers=2,
    num_query_heads=2,
    num_kv_heads=1,
    head_dim=8,
    context_length_tokens=32,
)


def batch() -> Row:
    tokens = np.random.default_rng(0).integers(0, CONFIG.vocab_size, (2, 10)).astype(np.int32)
    ones = np.ones_like(tokens)
    positions = np.broadcast_to(np.arange(10, dtype=np.int32), tokens.shape)
    return Row(tokens, tokens, ones.astype(np.float32), ones, positions)


def run(model: Transformer) -> jax.Array:
    rows = batch()
    return model(jnp.asarray(rows.tokens), jnp.asarray(rows.positions), jnp.asarray(rows.segment_ids), rope_theta=1e4)


def test_pruned_model_equals_the_parent_with_the_other_units_zeroed() -> None:
    parent = init_transformer(CONFIG, jax.random.key(0))
    units = jnp.asarray([[0, 3, 4, 7, 11], [1, 2, 5, 8, 9]])
    mask = jnp.zeros((2, 12)).at[jnp.arange(2)[:, None], units].set(1.0)
    silenced = eqx.tree_at(
        lambda m: m.blocks.feed_forward.down.weight, parent, parent.blocks.feed_forward.down.weight * mask[:, None, :]
    )
    pruned = keep_units(parent, units)
    assert pruned.config.ffn_dim == 5
    np.testing.assert_allclose(run(pruned), run(silenced), atol=1e-5)


def test_keeping_every_unit_changes_nothing() -> None:
    parent = init_transformer(CONFIG, jax.random.key(1))
    kept = keep_units(parent, jnp.broadcast_to(jnp.arange(12), (2, 12)))
    assert jax.tree.all(jax.tree.map(jnp.array_equal, parent, kept))


def test_best_units_are_the_largest_in_their_old_order() -> None:
    scores = jnp.asarray([[0.1, 5.0, 3.0, 4.0], [9.0, 1.0, 2.0, 8.0]])
    np.testing.assert_array_equal(best_units(scores, 2), [[1, 3], [0, 3]])


def test_scores_of_the_first_layer_match_a_plain_computation() -> None:
    parent = init_transformer(CONFIG, jax.random.key(2))
    block = jax.tree.map(lambda leaf: leaf[0], parent.blocks)
    rows = batch()
    x = parent.embedding[rows.tokens]
    angles = rotary(jnp.asarray(rows.positions), CONFIG.head_dim, CONFIG.rope_theta)
    attended, _ = block.attention(block.attention_norm(x), angles, PackedRows(jnp.asarray(rows.segment_ids)))
    stream = np.asarray(block.feed_forward_norm(x + attended), np.float64)
    gate = stream @ np.asarray(block.feed_forward.gate.weight, np.float64).T
    hidden = gate / (1 + np.exp(-gate)) * (stream @ np.asarray(block.feed_forward.up.weight, np.float64).T)
    expected = np.abs(hidden).sum((0, 1)) * np.linalg.norm(np.asarray(block.feed_forward.down.weight), axis=0)
    np.testing.assert_allclose(unit_scores(parent, rows)[0], expected, rtol=1e-4)
