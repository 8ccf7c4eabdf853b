"""Mixture weights as an optimization problem: perturb the shares, evaluate each mixture, move to where it is better.

Source: arXiv 2407.21075 section 4.1 tunes the weights of its fine-tuning mixture by perturbing them and measuring the
change in quality, and gives no algorithm. Ours is an evolution strategy in the logarithms of the shares: a round draws
mirrored pairs of perturbations of all shares at once (arXiv 1703.03864), so that its price does not grow with the
number of kinds, and moves by the mean of the better half, weighted by rank (arXiv 1604.00772).
Tried and dropped: a move to the best trial, if it beats all before. One evaluation is noisy, and the best of many is
mostly lucky: on seven kinds with a known optimum, eight rounds of eight and noise of a third of all that can be gained
it closed half of the distance (in KL divergence) where the mean of the better half closed three quarters.
Considered and left: a regression of score on shares (RegMix, arXiv 2407.01492), for hundreds of trials, not dozens.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from codling.config import config
from codling.data.mixture import MixtureWeights
from codling.errors import UserError

SHARE_DIGITS = 4
"""Shares are rounded before they are evaluated: what is written down is what was tried."""


@config
class MixtureSearchConfig:
    """How far and how often. All ours; the report gives none of it."""

    num_rounds: int = 4
    num_trials: int = 8
    """Perturbed mixtures of a round, in mirrored pairs."""
    noise: float = 0.5
    """Standard deviation of the change of a share's logarithm, in the first round."""
    shrink: float = 0.85
    """What the noise is multiplied by after a round."""
    min_share: float = 0.01
    """No trial has less of a kind. What ends there might as well be left out, which is for people to decide."""

    def __post_init__(self) -> None:
        if self.num_rounds < 1 or self.num_trials < 2 or self.num_trials % 2:
            raise ValueError("num_rounds must be >= 1, and num_trials even and >= 2")
        # A share of a mixture is read to a thousandth.
        if not (self.noise > 0 and 0 < self.shrink <= 1 and 0.002 <= self.min_share < 1):
            raise ValueError("noise must be > 0, shrink within 0 and 1, min_share within 0.002 and 1")


class Trial(NamedTuple):
    """A mixture and what it scored; more is better."""

    mixture: MixtureWeights
    score: float


class Found(NamedTuple):
    """What a search went from and what it came to."""

    start: Trial
    end: Trial
    num_trials: int

    @property
    def best(self) -> Trial:
        """The end, unless the search went astray."""
        return self.end if self.end.score > self.start.score else self.start


def search_mixture(
    config: MixtureSearchConfig, start: MixtureWeights, evaluate: Callable[[MixtureWeights], float], seed: int
) -> Found:
    """Climb from the start's shares. The same seed and scores give the same mixtures to evaluate, in the same order.

    Errors: `UserError` for a mixture of one kind, or of more kinds than `min_share` has room for.
    """
    kinds = list(start.share_by_kind)
    _check(kinds, config)

    def attempt(shares: Float[np.ndarray, " n"]) -> Trial:
        mixture = MixtureWeights(share_by_kind=dict(zip(kinds, shares.tolist(), strict=True)))
        return Trial(mixture, evaluate(mixture))

    center = np.asarray(list(start.share_by_kind.values()))
    center = (center / center.sum()).round(SHARE_DIGITS)
    first, noise = attempt(center), config.noise
    for number in range(config.num_rounds):
        drawn = np.random.default_rng([seed, number]).normal(size=(config.num_trials // 2, len(kinds)))
        directions = np.concatenate([drawn, -drawn])
        around = [_move(center, noise * direction, config.min_share) for direction in directions]
        scores = [attempt(shares).score for shares in around]
        center = _move(center, noise * _recombine(directions, scores), config.min_share)
        noise *= config.shrink
    return Found(first, attempt(center), config.num_rounds * config.num_trials + 2)


def _check(kinds: Sequence[str], config: MixtureSearchConfig) -> None:
    if len(kinds) < 2:
        raise UserError(f"a mixture of '{kinds[0]}' alone has no shares to tune; name a second kind")
    if len(kinds) * config.min_share >= 1:
        raise UserError(f"min_share {config.min_share} leaves no room for {len(kinds)} kinds; lower it")


def _move(shares: Float[np.ndarray, " n"], by: Float[np.ndarray, " n"], min_share: float) -> Float[np.ndarray, " n"]:
    """Shares times exp(by), scaled to sum to 1; where one falls below the least it is that, at the others' expense."""
    moved = shares * np.exp(by - by.max())
    is_least = np.zeros(len(moved), np.bool_)
    while True:
        rest = 1.0 - min_share * is_least.sum()
        scaled = np.where(is_least, min_share, moved * rest / moved[~is_least].sum())
        if not (scaled < min_share).any():
            return scaled.round(SHARE_DIGITS)
        is_least |= scaled < min_share


def _recombine(directions: Float[np.ndarray, "k n"], scores: Sequence[float]) -> Float[np.ndarray, " n"]:
    """The mean of the better half, the best of it weighing most: log(half + 1/2) - log(rank) (arXiv 1604.00772)."""
    num_better = len(scores) // 2
    better = np.argsort(-np.asarray(scores), kind="stable")[:num_better]
    weights = np.log(num_better + 0.5) - np.log(np.arange(1, num_better + 1))
    mean: Float[np.ndarray, " n"] = weights @ directions[better] / weights.sum()
    return mean
