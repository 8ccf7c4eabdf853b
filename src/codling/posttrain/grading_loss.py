"""The reward model's regularizer: cross-entropies of four gradings of both answers (arXiv 2407.21075 section 4.2).

    L = L_rank + lambda * sum over answers and aspects of -log softmax(logits)[grade]

A grade that nobody gave has weight zero. One loss a pair, a sum and not a mean over the grades that are there, as in
the report; lambda is the caller's (unknown in the report). Float32 throughout.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from codling.posttrain.gradings import MISSING_GRADE


def grading_loss(logits: Float[Array, "B 2 4 3"], grades: Int[Array, "B 2 4"]) -> Float[Array, " B"]:
    """Sum each pair's eight cross-entropies, in nats.

    Shapes: two answers, four aspects in the order of `gradings.ASPECTS`, three grades; `MISSING_GRADE` where there is
    none.
    """
    is_given = grades != MISSING_GRADE
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    picked = jnp.take_along_axis(log_probs, jnp.where(is_given, grades, 0)[..., None], axis=-1)[..., 0]
    return -jnp.sum(jnp.where(is_given, picked, 0.0), axis=(1, 2))
