"""Simulated errors: at the rates that are asked for, on the same pairs each time."""

import math

import pytest

from codling.committee.label_noise import NoiseConfig
from codling.config import from_dict
from codling.errors import UserError
from codling.posttrain.levels import Level, LevelProbabilities
from codling.posttrain.prompts import content_id

IDS = [content_id(number) for number in range(2000)]


@pytest.mark.parametrize("level", Level)
def test_pairs_are_mistaken_at_the_rate_of_their_level(level: Level) -> None:
    noise = NoiseConfig()
    share = sum(noise.mistakes(pair_id, level) for pair_id in IDS) / len(IDS)
    rate = noise.rate(level)
    assert abs(share - rate) < 4 * math.sqrt(rate * (1 - rate) / len(IDS))


def test_the_rates_are_what_the_soft_labels_leave() -> None:
    for level in Level:
        assert NoiseConfig().rate(level) == pytest.approx(1 - LevelProbabilities().of(level))


def test_seeds_mistake_other_pairs_and_the_same_seed_the_same() -> None:
    first, again, other = (
        [NoiseConfig(seed=seed).mistakes(pair_id, Level.BETTER) for pair_id in IDS] for seed in (0, 0, 1)
    )
    assert first == again != other


def test_no_rate_is_no_error() -> None:
    assert not any(NoiseConfig(better=0.0).mistakes(pair_id, Level.BETTER) for pair_id in IDS)


@pytest.mark.parametrize("rate", [-0.1, 0.6, float("nan")])
def test_bad_rates_are_refused(rate: float) -> None:
    with pytest.raises(UserError, match="must lie between 0 and 0.5" if rate == rate else "better"):
        from_dict(NoiseConfig, {"better": rate}, source="x")
