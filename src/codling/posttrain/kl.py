"""Estimators of KL(pi || pi_ref) from single answers or tokens (http://joschu.net/blog/kl-approx.html).

With the log ratio l = log pi - log pi_ref of a sample:

    from pi:    k1 = l                    unbiased; may be negative
                k3 = exp(-l) - 1 + l      unbiased; never negative, less spread where the two are near
    from pi_k:  rho log rho - (rho - 1),  rho = pi / pi_k: KL(pi || pi_k) where the samples are not pi's own

The last one is unbiased in its gradient too. The first two are, as penalties of a reward, where nothing is derived
through them; as a loss, k3's gradient is that of another divergence (issue trl#7086). In nats.
"""

from enum import StrEnum

import jax.numpy as jnp
from jaxtyping import Array, Float


class KLEstimator(StrEnum):
    """How a reward's divergence from the reference is estimated."""

    K1 = "k1"
    K3 = "k3"


def kl_estimate(
    log_probs: Float[Array, "*B"], reference: Float[Array, "*B"], estimator: KLEstimator = KLEstimator.K1
) -> Float[Array, "*B"]:
    """KL(pi || pi_ref) of each sample, drawn from pi."""
    ratio = log_probs - reference
    return ratio if estimator is KLEstimator.K1 else jnp.exp(-ratio) - 1.0 + ratio


def kl_from_sampler(log_probs: Float[Array, "*B"], sampler_log_probs: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """KL(pi || pi_k) of each sample, drawn from pi_k: rho log rho - (rho - 1).

    Its expectation under pi_k is the divergence for every pi, because that of rho - 1 is zero for every pi; so their
    gradients are equal too. Plain rho log rho has the same expectation, but its gradient at pi = pi_k is one of pure
    noise, grad log pi, where this one's is exactly zero; and this one is never negative.
    """
    ratio = log_probs - sampler_log_probs
    rho = jnp.exp(ratio)
    return rho * ratio - (rho - 1.0)
