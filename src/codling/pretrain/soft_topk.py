"""Soft-Top-K: a mask between 0 and 1 whose sum is k and which tends to the k largest scores as the temperature falls.

The report (arXiv 2407.21075 section 2.2.2) prunes with the Soft-Top-K of arXiv 2304.04947: of the masks of sum k the
one that maximizes <score, mask> + temperature * entropy(mask). Differs: our entropy is that of each unit being kept or
dropped, -m log m - (1 - m) log(1 - m), for which the maximum has the closed form below; it is the entropic transport
onto two anchors of arXiv 2002.06504. Unknown: the report's temperatures, and what its scores start from.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

SATURATED = 300.0
"""Distance from the k-th largest score, in temperatures, beyond which a mask is 0 or 1 in float32."""
NUM_BISECTIONS = 40
"""Halvings of a bracket little more than twice as wide, down to below the spacing of float32."""
TINY = 1e-30
"""Added to a sum of weights: where no unit is between 0 and 1 the gradient is 0, and not 0 / 0."""


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def soft_topk(scores: Float[Array, "*L F"], k: int, temperature: Float[Array, ""]) -> Float[Array, "*L F"]:
    """mask = sigmoid((score - threshold) / temperature), the threshold of each row such that its mask sums to k.

    Scores are float32, and tied ones share alike. The gradient is that of the equation which defines the threshold (the
    implicit function theorem), not of the iterations that solve it. With w = mask * (1 - mask),

        d mask = w / temperature * (d score - d threshold),    d threshold = sum(w * d score) / sum(w),

    so that it sums to nothing, and vanishes where the mask is hard.
    Price: NUM_BISECTIONS sigmoids a score. Errors: `ValueError` for a k that is not within 1 and F.
    """
    return jax.nn.sigmoid(_logits(scores, k, temperature))


def _logits(scores: Float[Array, "*L F"], k: int, temperature: Float[Array, ""]) -> Float[Array, "*L F"]:
    """(score - threshold) / temperature, by bisection.

    Everything is counted in temperatures from the k-th largest score, so that no digits are lost near the threshold
    however low the temperature. And that a mask sums to k is read as: what the k largest lack is what the others have;
    two small sums, which still tell apart thresholds between which the sum of the whole mask is k in every digit.
    """
    num_units = scores.shape[-1]
    if not 0 < k <= num_units:
        raise ValueError(f"k is {k}; it must be within 1 and the number of scores, {num_units}")
    if k == num_units:
        return jnp.full_like(scores, SATURATED)
    falling = -jnp.sort(-scores, axis=-1)
    kth_largest = falling[..., k - 1 : k]

    def distance(scores: Array) -> Array:
        return jnp.clip((scores - kth_largest) / temperature, -SATURATED, SATURATED)

    largest, others = distance(falling[..., :k]), distance(falling[..., k:])
    even = math.log(k / (num_units - k))  # the logit of a mask that is k / F everywhere

    def halve(_: Array, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = 0.5 * (low + high)
        lacking = jnp.sum(jax.nn.sigmoid(middle - largest), axis=-1, keepdims=True)
        is_low = jnp.sum(jax.nn.sigmoid(others - middle), axis=-1, keepdims=True) > lacking
        return jnp.where(is_low, middle, low), jnp.where(is_low, high, middle)

    bracket: tuple[Array, Array] = (others[..., -1:] - even, largest[..., :1] - even)
    low, high = jax.lax.fori_loop(0, NUM_BISECTIONS, halve, bracket)
    threshold: Array = 0.5 * (low + high)
    return distance(scores) - threshold


@soft_topk.defjvp
def _tangent(
    k: int, primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Float[Array, "*L F"], Float[Array, "*L F"]]:
    scores, temperature = primals
    scores_tangent, temperature_tangent = tangents
    logits = _logits(scores, k, temperature)
    mask = jax.nn.sigmoid(logits)
    weights = mask * jax.nn.sigmoid(-logits)
    moved = scores_tangent - logits * temperature_tangent
    total = jnp.sum(weights, axis=-1, keepdims=True) + TINY
    threshold_tangent = jnp.sum(weights * moved, axis=-1, keepdims=True) / total
    return mask, weights / temperature * (moved - threshold_tangent)
