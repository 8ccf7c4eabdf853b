"""Every score is what its name says, by a plain computation; text counts by its share, padding not at all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.data.pack import Row
from codling.model.packed_rows import PackedRows
from codling.model.rope import rotary
from codling.model.transformer import Transformer
from codling.pretrain.unit_scores import Method, Share, mean_activations, unit_scores

KEY = jax.random.key(3)


def activations_of_the_first_layer(parent: Transformer, rows: Row) -> np.ndarray:
    """|h| of every token of text, in float64."""
    block = jax.tree.map(lambda leaf: leaf[0], parent.blocks)
    x = parent.embedding[rows.tokens]
    angles = rotary(jnp.asarray(rows.positions), parent.config.head_dim, parent.config.rope_theta)
    context = PackedRows(jnp.asarray(rows.segment_ids))
    attended, _ = block.attention(block.attention_norm(x), angles, context)
    stream = np.asarray(block.feed_forward_norm(x + attended), np.float64)
    gate = stream @ np.asarray(block.feed_forward.gate.weight, np.float64).T
    hidden = gate / (1 + np.exp(-gate)) * (stream @ np.asarray(block.feed_forward.up.weight, np.float64).T)
    sizes: np.ndarray = np.abs(hidden)[rows.segment_ids > 0]
    return sizes


def test_mean_activation_is_the_mean_size_over_the_text(parent: Transformer, batch: Row) -> None:
    scores = unit_scores(Method.MEAN_ACTIVATION, parent, [Share(1.0, [batch])], KEY)
    np.testing.assert_allclose(scores[0], activations_of_the_first_layer(parent, batch).mean(0), rtol=1e-4)


def test_contribution_is_activation_times_the_norm_of_the_column(parent: Transformer, batch: Row) -> None:
    scores = unit_scores(Method.CONTRIBUTION, parent, [Share(1.0, [batch])], KEY)
    columns = np.linalg.norm(np.asarray(parent.blocks.feed_forward.down.weight[0]), axis=0)
    np.testing.assert_allclose(scores[0], activations_of_the_first_layer(parent, batch).mean(0) * columns, rtol=1e-4)


def test_kinds_count_by_their_share(parent: Transformer, batch: Row) -> None:
    other = batch._replace(tokens=np.flip(batch.tokens, axis=1).copy())
    alone = [mean_activations(parent, [Share(1.0, [rows])]) for rows in (batch, other)]
    mixed = mean_activations(parent, [Share(300.0, [batch]), Share(100.0, [other])])
    np.testing.assert_allclose(mixed, 0.75 * alone[0] + 0.25 * alone[1], rtol=1e-5)


def test_weight_norm_is_that_of_all_of_a_units_weights(parent: Transformer) -> None:
    ffn = jax.tree.map(np.asarray, parent.blocks.feed_forward)
    unit = np.concatenate([ffn.gate.weight[1, 7], ffn.up.weight[1, 7], ffn.down.weight[1, :, 7]])
    scores = unit_scores(Method.WEIGHT_NORM, parent, [], KEY)
    np.testing.assert_allclose(scores[1, 7], np.linalg.norm(unit), rtol=1e-5)


def test_random_scores_are_the_keys(parent: Transformer) -> None:
    first, again, other = (
        unit_scores(Method.RANDOM, parent, [], key) for key in (KEY, jax.random.key(3), jax.random.key(4))
    )
    np.testing.assert_array_equal(first, again)
    assert not (first == other).any()


def test_learned_scores_are_not_computed(parent: Transformer, batch: Row) -> None:
    with pytest.raises(ValueError, match="soft_topk scores are learned, not computed"):
        unit_scores(Method.SOFT_TOPK, parent, [Share(1.0, [batch])], KEY)
