"""The reward model's ranking loss (arXiv 2407.21075 section 4.2, L_rank).

    L_rank = -p log sigma(r_chosen - r_rejected) - (1 - p) log sigma(r_rejected - r_chosen)

p is the soft label of the pair's level (`levels.LevelProbabilities`): the loss is least where the rewards differ by
log(p / (1 - p)), not where they differ without end. Two others stand beside it to compare with, as deltas: hard labels
(p = 1), and the margin that Llama 2 used. All give one loss a pair, in nats; less is better. Float32 throughout.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def rank_loss(
    chosen: Float[Array, " B"], rejected: Float[Array, " B"], probabilities: Float[Array, " B"]
) -> Float[Array, " B"]:
    """L_rank of each pair, from the rewards of its two answers. Same as the report."""
    difference = (chosen - rejected).astype(jnp.float32)
    return -probabilities * jax.nn.log_sigmoid(difference) - (1.0 - probabilities) * jax.nn.log_sigmoid(-difference)


def hard_rank_loss(chosen: Float[Array, " B"], rejected: Float[Array, " B"]) -> Float[Array, " B"]:
    """-log sigma(r_chosen - r_rejected): Bradley and Terry's, which knows no levels."""
    return rank_loss(chosen, rejected, jnp.ones_like(chosen, jnp.float32))


def margin_rank_loss(
    chosen: Float[Array, " B"], rejected: Float[Array, " B"], margins: Float[Array, " B"]
) -> Float[Array, " B"]:
    """-log sigma(r_chosen - r_rejected - margin) (arXiv 2307.09288 equation 2)."""
    return hard_rank_loss(chosen - margins, rejected)
