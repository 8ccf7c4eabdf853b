"""The search climbs to a known optimum, is a function of its seed and scores, and gives up no kind."""

from collections.abc import Callable
from itertools import count

import numpy as np
import pytest

from codling.data.mixture import MixtureWeights
from codling.errors import UserError
from codling.posttrain.mixture_search import Found, MixtureSearchConfig, search_mixture

OPTIMUM = {"songs": 0.5, "poems": 0.3, "plays": 0.15, "jokes": 0.05}
EVEN = MixtureWeights(share_by_kind=dict.fromkeys(OPTIMUM, 1.0))
LONG = MixtureSearchConfig(num_rounds=30)

Score = Callable[[MixtureWeights], float]


def shares_of(mixture: MixtureWeights) -> np.ndarray:
    return np.asarray(list(mixture.share_by_kind.values()))


def nearness(mixture: MixtureWeights) -> float:
    """Minus the KL divergence from the optimum."""
    best = np.asarray(list(OPTIMUM.values()))
    return float(-np.sum(best * np.log(best / shares_of(mixture))))


def watch(config: MixtureSearchConfig, score: Score, seed: int = 0) -> tuple[Found, list[MixtureWeights]]:
    tried: list[MixtureWeights] = []

    def evaluate(mixture: MixtureWeights) -> float:
        tried.append(mixture)
        return score(mixture)

    return search_mixture(config, EVEN, evaluate, seed), tried


@pytest.mark.parametrize("seed", range(5))
def test_it_finds_the_optimum(seed: int) -> None:
    found, tried = watch(LONG, nearness, seed)
    assert found.start.mixture.share_by_kind == dict.fromkeys(OPTIMUM, 0.25)
    assert 0.5 * np.abs(shares_of(found.end.mixture) - list(OPTIMUM.values())).sum() < 0.01
    assert found.best is found.end
    assert found.num_trials == len(tried) == 30 * 8 + 2


def test_noisy_scores_slow_it_down_but_do_not_lead_it_astray() -> None:
    noise = np.random.default_rng(1)
    found = [
        watch(MixtureSearchConfig(num_rounds=8), lambda mixture: nearness(mixture) + 0.05 * noise.normal(), seed)[0]
        for seed in range(20)
    ]
    assert np.mean([nearness(one.end.mixture) for one in found]) > 0.25 * nearness(found[0].start.mixture)


def test_the_same_seed_and_scores_try_the_same_mixtures() -> None:
    config = MixtureSearchConfig(num_rounds=3, num_trials=4)
    assert watch(config, nearness) == watch(config, nearness)
    assert watch(config, nearness)[1] != watch(config, nearness, seed=1)[1]
    # Only their order counts, so that a unit of score has no meaning.
    assert watch(config, nearness)[1] == watch(config, lambda mixture: np.exp(100 * nearness(mixture)))[1]


def test_perturbations_are_mirrored_and_sum_to_one() -> None:
    _, tried = watch(MixtureSearchConfig(num_rounds=1, num_trials=6), nearness)
    logs = [np.log(shares_of(mixture)) for mixture in tried]
    for up, down in zip(logs[1:4], logs[4:7], strict=True):
        assert np.ptp(up) > 0.1
        # Up to the scaling to 1, and the rounding of the shares.
        assert np.ptp(up + down) < 0.01
    for mixture in tried:
        assert shares_of(mixture).sum() == pytest.approx(1.0, abs=1e-3)


def test_a_kind_that_only_harms_falls_to_the_least_share_and_stays() -> None:
    config = MixtureSearchConfig(num_rounds=20, min_share=0.03)
    found, tried = watch(config, lambda mixture: -mixture.share_by_kind["jokes"])
    assert found.end.mixture.share_by_kind["jokes"] == 0.03
    assert min(shares_of(mixture).min() for mixture in tried) == 0.03


def test_a_search_that_went_astray_comes_back_with_what_it_had() -> None:
    falling = count()
    found, _ = watch(MixtureSearchConfig(num_rounds=2), lambda _: -float(next(falling)))
    assert found.best is found.start


@pytest.mark.parametrize(
    "change",
    [{"num_rounds": 0}, {"num_trials": 3}, {"num_trials": 0}, {"noise": 0.0}, {"shrink": 0.0}, {"min_share": 0.001}],
)
def test_configurations_that_cannot_search_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"num_trials even|noise must be > 0"):
        MixtureSearchConfig(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kinds", "min_share", "message"),
    [(1, 0.01, "a mixture of 'kind 0' alone has no shares to tune"), (4, 0.25, "leaves no room for 4 kinds")],
)
def test_mixtures_that_cannot_be_tuned_are_refused(kinds: int, min_share: float, message: str) -> None:
    start = MixtureWeights(share_by_kind={f"kind {number}": 1.0 for number in range(kinds)})
    with pytest.raises(UserError, match=message):
        search_mixture(MixtureSearchConfig(min_share=min_share), start, nearness, 0)
