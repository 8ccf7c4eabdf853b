"""Direct preference optimization (arXiv 2305.18290 equation 7).

    L = -log sigma(beta [log pi(y_w|x) - log pi_ref(y_w|x)] - beta [log pi(y_l|x) - log pi_ref(y_l|x)])

y_w is the better answer, y_l the other one; an answer's log-probability is the SUM over its tokens. That is the ranking
loss of the implicit rewards beta log(pi / pi_ref), and is computed as such; with label smoothing e (conservative DPO)
its soft label is 1 - e. Sums over pairs; their mean is minimized. Same as the paper.
"""

import jax.numpy as jnp

from codling.posttrain.pair_log_probs import LogRatios, PairLogProbs, log_ratios, sum_pairs
from codling.posttrain.rank_loss import rank_loss
from codling.train.loss import LossSums


def dpo_loss(pairs: PairLogProbs, *, beta: float, label_smoothing: float = 0.0) -> LossSums:
    """Sum the losses of all pairs, in nats. `beta` is the price of a nat of divergence from the reference."""
    ratios = log_ratios(pairs)
    rewards = LogRatios(beta * ratios.chosen, beta * ratios.rejected)
    labels = jnp.full_like(rewards.chosen, 1.0 - label_smoothing)
    return sum_pairs(rank_loss(rewards.chosen, rewards.rejected, labels), pairs, rewards)
