"""A masked model is its parent with units turned down; folded, it is the same function in smaller matrices."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from codling.data.pack import Row
from codling.model.transformer import Transformer
from codling.pretrain.unit_mask import MaskedLinear, ScoredModel, best_units, fold, keep_units, mask_without

NUM_KEPT = 5
TOLERANCE = 1e-5


def run(model: Transformer, rows: Row) -> jax.Array:
    return model(jnp.asarray(rows.tokens), jnp.asarray(rows.positions), jnp.asarray(rows.segment_ids), rope_theta=1e4)


def with_down_scaled(parent: Transformer, mask: jax.Array) -> Transformer:
    """What masking means, written without any of the code under test."""
    down = parent.blocks.feed_forward.down.weight * mask[:, None, :]
    scaled: Transformer = eqx.tree_at(lambda m: m.blocks.feed_forward.down.weight, parent, down)
    return scaled


def scored(parent: Transformer, score_rate: float = 4.0) -> ScoredModel:
    scores = jax.random.normal(jax.random.key(1), (2, 12)) / score_rate
    return ScoredModel(scores, parent, NUM_KEPT, score_rate)


def test_the_mask_multiplies_the_hidden_units(parent: Transformer, batch: Row) -> None:
    warm = scored(parent)
    temperature = jnp.float32(0.5)
    mask = warm.mask(temperature)
    np.testing.assert_allclose(mask.sum(-1), NUM_KEPT, rtol=1e-3)
    masked = warm.masked(temperature)
    assert isinstance(masked.blocks.feed_forward.down, MaskedLinear)
    np.testing.assert_allclose(run(masked, batch), run(with_down_scaled(parent, mask), batch), atol=TOLERANCE)


def test_the_rate_scales_what_is_trained_and_not_what_is_meant(parent: Transformer) -> None:
    slow, fast = (scored(parent, score_rate).mask(jnp.float32(0.5)) for score_rate in (1.0, 8.0))
    np.testing.assert_allclose(slow, fast, atol=TOLERANCE)


def test_the_gradient_turns_down_units_that_do_harm(parent: Transformer) -> None:
    scored = ScoredModel(jnp.zeros((2, 12)), parent, 6, 1.0)
    harm = jnp.where(jnp.arange(12) % 2 == 0, 1.0, 0.0)

    @eqx.filter_grad
    def loss(scored: ScoredModel) -> jax.Array:
        return jnp.sum(scored.mask(jnp.float32(0.5)) * harm[None, :])

    gradients = loss(scored).scores
    assert gradients is not None
    assert bool(jnp.all((gradients > 0) == (harm > 0)[None, :]))


def test_folded_it_equals_the_masked_model(parent: Transformer, batch: Row) -> None:
    # At this temperature every unit is in or out, and those in are not all at 1 in the last digit.
    temperature = jnp.float32(1e-3)
    hard = scored(parent)
    mask = hard.mask(temperature)
    units = best_units(mask, NUM_KEPT)
    assert float(mask_without(mask, units).max()) < 1e-9
    pruned = fold(parent, mask, units)
    assert pruned.config.ffn_dim == NUM_KEPT
    assert pruned.blocks.feed_forward.down.weight.shape == (2, 16, NUM_KEPT)
    np.testing.assert_allclose(run(pruned, batch), run(hard.masked(temperature), batch), atol=TOLERANCE)


def test_what_is_left_of_the_mask_goes_into_down(parent: Transformer, batch: Row) -> None:
    mask = jnp.zeros((2, 12)).at[:, 3:8].set(jnp.asarray([0.9, 1.0, 0.5, 0.8, 1.0]))
    pruned = fold(parent, mask, best_units(mask, NUM_KEPT))
    np.testing.assert_allclose(run(pruned, batch), run(with_down_scaled(parent, mask), batch), atol=TOLERANCE)


def test_a_cut_is_the_parent_with_the_other_units_silent(parent: Transformer, batch: Row) -> None:
    units = jnp.asarray([[0, 3, 4, 7, 11], [1, 2, 5, 8, 9]])
    silent = with_down_scaled(parent, jnp.zeros((2, 12)).at[jnp.arange(2)[:, None], units].set(1.0))
    pruned = keep_units(parent, units)
    assert pruned.config.ffn_dim == NUM_KEPT
    np.testing.assert_allclose(run(pruned, batch), run(silent, batch), atol=TOLERANCE)


def test_keeping_every_unit_changes_nothing(parent: Transformer) -> None:
    kept = keep_units(parent, jnp.broadcast_to(jnp.arange(12), (2, 12)))
    assert jax.tree.all(jax.tree.map(jnp.array_equal, parent, kept))


def test_best_units_are_the_largest_in_their_old_order() -> None:
    scores = jnp.asarray([[0.1, 5.0, 3.0, 4.0], [9.0, 1.0, 2.0, 8.0]])
    units = best_units(scores, 2)
    np.testing.assert_array_equal(units, [[1, 3], [0, 3]])
    np.testing.assert_array_equal(mask_without(scores, units), jnp.asarray([[0.1, 0, 3, 0], [0, 1, 2, 0]]))
