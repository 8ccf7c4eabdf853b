"""Dropout keeps the mean, draws anew for every layer and place, and without it nothing changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.model.dropout import ATTENTION, FEED_FORWARD, Dropout, drop, of_layers

RATE = 0.25
DROPOUT = Dropout(jax.random.key(0), RATE)
X = jnp.asarray(np.random.default_rng(0).normal(size=(8, 64, 32)) + 3.0, jnp.float32)


def test_elements_are_zero_or_scaled_up_and_the_mean_stays() -> None:
    dropped = np.asarray(drop(X, DROPOUT, ATTENTION))
    stays = dropped != 0
    assert 1 - stays.mean() == pytest.approx(RATE, abs=0.02)
    np.testing.assert_allclose(dropped[stays], np.asarray(X)[stays] / (1 - RATE), rtol=1e-6)
    assert dropped.mean() == pytest.approx(float(X.mean()), rel=0.02)


def test_what_was_dropped_has_no_gradient() -> None:
    gradient = jax.grad(lambda x: jnp.sum(drop(x, DROPOUT, ATTENTION)))(X)
    np.testing.assert_array_equal(np.asarray(gradient) == 0, np.asarray(drop(X, DROPOUT, ATTENTION)) == 0)


def test_every_layer_and_place_draws_its_own_and_the_same_key_the_same() -> None:
    layers = of_layers(DROPOUT, 3)
    assert layers is not None
    assert layers.key.shape == (3,)
    drawn = [
        np.asarray(drop(X, Dropout(layers.key[layer], RATE), place)) != 0
        for layer in range(3)
        for place in (ATTENTION, FEED_FORWARD)
    ]
    for index, stays in enumerate(drawn):
        for other in drawn[:index]:
            # Of two independent draws both keep an element with the square of the chance.
            assert (stays & other).mean() == pytest.approx((1 - RATE) ** 2, abs=0.02)
    np.testing.assert_array_equal(drop(X, DROPOUT, ATTENTION), drop(X, DROPOUT, ATTENTION))


def test_none_is_the_very_same_array() -> None:
    assert drop(X, None, ATTENTION) is X
    assert of_layers(None, 3) is None


def test_the_type_stays() -> None:
    assert drop(X.astype(jnp.bfloat16), DROPOUT, FEED_FORWARD).dtype == jnp.bfloat16
