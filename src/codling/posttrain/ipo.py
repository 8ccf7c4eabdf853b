"""Identity preference optimization (arXiv 2310.12036 equation 17).

    L = (h - 1 / (2 tau))^2,   h = [log pi(y_w|x) - log pi_ref(y_w|x)] - [log pi(y_l|x) - log pi_ref(y_l|x)]

y_w is the better answer, y_l the other one. Differs: an answer's log-probability is the MEAN over its tokens, where the
paper does not speak of lengths; by sums, the target 1 / (2 tau) would mean less the longer the answers are. It is what
the paper's authors did, and what other libraries came to (issue trl#1265). With answers of n tokens, tau
of n/2 times DPO's beta asks for about the same divergence. Sums over pairs; their mean is minimized.
"""

import jax.numpy as jnp

from codling.posttrain.pair_log_probs import PairLogProbs, mean_log_ratios, sum_pairs
from codling.train.loss import LossSums


def ipo_loss(pairs: PairLogProbs, *, tau: float) -> LossSums:
    """Sum the losses of all pairs, in squared nats a token. `tau` is the strength of the pull to the reference."""
    ratios = mean_log_ratios(pairs)
    losses = jnp.square(ratios.chosen - ratios.rejected - 1.0 / (2.0 * tau))
    return sum_pairs(losses, pairs, ratios)
