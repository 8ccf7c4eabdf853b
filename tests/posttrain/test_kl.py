"""Estimators of a divergence, checked by enumerating what they could be given."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.posttrain.kl import KLEstimator, kl_estimate, kl_from_sampler

RANDOM = np.random.default_rng(0)
LOGITS, OTHER_LOGITS = (jnp.asarray(RANDOM.normal(size=6), jnp.float32) for _ in range(2))
TOLERANCE = 1e-5
OTHER = jax.nn.log_softmax(OTHER_LOGITS)


def divergence(logits: jax.Array) -> jax.Array:
    log_probs = jax.nn.log_softmax(logits)
    return jnp.sum(jnp.exp(log_probs) * (log_probs - OTHER))


@pytest.mark.parametrize("estimator", KLEstimator)
def test_estimates_from_pi_are_unbiased(estimator: KLEstimator) -> None:
    log_probs = jax.nn.log_softmax(LOGITS)
    estimates = kl_estimate(log_probs, OTHER, estimator)
    assert float(jnp.sum(jnp.exp(log_probs) * estimates)) == pytest.approx(float(divergence(LOGITS)), rel=1e-4)
    assert (np.asarray(estimates) >= 0).all() == (estimator is KLEstimator.K3)
    np.testing.assert_array_equal(kl_estimate(OTHER, OTHER, estimator), jnp.zeros(6))


def test_by_default_it_is_k1() -> None:
    np.testing.assert_array_equal(kl_estimate(LOGITS, OTHER), LOGITS - OTHER)


def plain(log_probs: jax.Array, sampler: jax.Array) -> jax.Array:
    return jnp.exp(log_probs - sampler) * (log_probs - sampler)


@pytest.mark.parametrize("estimator", [kl_from_sampler, plain])
def test_estimates_from_the_sampler_are_unbiased_in_value_and_gradient(
    estimator: Callable[[jax.Array, jax.Array], jax.Array],
) -> None:
    def expected(logits: jax.Array) -> jax.Array:
        return jnp.sum(jnp.exp(OTHER) * estimator(jax.nn.log_softmax(logits), OTHER))

    (value, gradient), (exact, exact_gradient) = (jax.value_and_grad(f)(LOGITS) for f in (expected, divergence))
    assert float(value) == pytest.approx(float(exact), rel=1e-4)
    np.testing.assert_allclose(gradient, exact_gradient, atol=TOLERANCE)


def test_ours_has_no_noise_where_nothing_has_moved_and_is_never_negative() -> None:
    def gradients(estimator: Callable[[jax.Array, jax.Array], jax.Array]) -> Any:
        return jax.jacobian(lambda logits: estimator(jax.nn.log_softmax(logits), OTHER))(OTHER_LOGITS)

    np.testing.assert_allclose(gradients(kl_from_sampler), jnp.zeros((6, 6)), atol=TOLERANCE)
    assert np.abs(gradients(plain)).max() > 0.5
    assert (np.asarray(kl_from_sampler(jax.nn.log_softmax(LOGITS), OTHER)) >= 0).all()
