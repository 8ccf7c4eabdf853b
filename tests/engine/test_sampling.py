"""Draws against references of a few lines, and against the distribution that they are to have."""

from typing import Any

import numpy as np
import pytest

from codling.engine import _native
from codling.engine.sampling import Sampling
from codling.errors import UserError

WORD = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15


def split_mix(x: int) -> int:
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & WORD
    return x ^ (x >> 31)


def noise_bits(seed: int, position: int, token: int) -> int:
    start = split_mix((split_mix((seed + STEP) & WORD) + position * STEP) & WORD)
    return split_mix((start + (token + 1) * STEP) & WORD) >> 32


def gumbel(seed: int, position: int, count: int) -> np.ndarray:
    bits = np.asarray([noise_bits(seed, position, token) for token in range(count)], np.float64)
    noise: np.ndarray = -np.log(-np.log((bits + 0.5) / 2**32))
    return noise


def penalized(logits: np.ndarray, seen: list[int], penalty: float) -> np.ndarray:
    logits = logits.astype(np.float64)
    for token in set(seen):
        logits[token] = logits[token] * penalty if logits[token] < 0 else logits[token] / penalty
    return logits.astype(np.float32).astype(np.float64)


def filtered(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Temperature and filters: scores, -inf where a token is left out."""
    scores = logits / sampling.temperature
    order = np.lexsort((np.arange(len(scores)), -scores))
    if sampling.top_k:
        scores[order[sampling.top_k :]] = -np.inf
    weights = np.exp(scores - scores.max())[order] / np.exp(scores - scores.max()).sum()
    scores[order[np.cumsum(weights) - weights >= sampling.top_p]] = -np.inf
    scores[scores < scores.max() + np.log(max(sampling.min_p, 1e-300))] = -np.inf
    return scores


def expected_draw(logits: np.ndarray, position: int, sampling: Sampling, seen: list[int], mask: np.ndarray) -> int:
    scores = np.where(mask, penalized(logits, seen, sampling.repetition_penalty), -np.inf)
    if sampling.temperature == 0:
        return int(np.argmax(scores))
    return int(np.argmax(filtered(scores, sampling) + gumbel(sampling.seed, position, len(scores))))


def draw(logits: Any, sampling: Sampling, position: int = 0, seen: list[int] = [], mask: Any = None) -> _native.Draw:  # noqa: B006
    words = None if mask is None else np.packbits(mask, bitorder="little")
    if words is not None:
        words = np.pad(words, (0, -len(words) % 4)).view(np.uint32)
    return _native.draw(np.asarray(logits, np.float32), position, sampling.to_native(), seen, words)


SAMPLINGS = {
    "greedy": Sampling(),
    "temperature": Sampling(temperature=0.7),
    "hot": Sampling(temperature=30.0),
    "top-k": Sampling(temperature=1.3, top_k=5),
    "top-k of one": Sampling(temperature=1.3, top_k=1),
    "top-k of more than there are": Sampling(temperature=1.3, top_k=1000),
    "top-p": Sampling(temperature=0.9, top_p=0.6),
    "little top-p": Sampling(temperature=0.9, top_p=1e-9),
    "min-p": Sampling(temperature=2.0, min_p=0.2),
    "min-p of one": Sampling(temperature=2.0, min_p=1.0),
    "penalty": Sampling(temperature=1.0, repetition_penalty=1.7),
    "greedy penalty": Sampling(repetition_penalty=3.0),
    "reward": Sampling(repetition_penalty=0.5),
    "all": Sampling(temperature=1.1, top_k=20, top_p=0.9, min_p=0.05, repetition_penalty=1.2),
}


@pytest.mark.parametrize("name", SAMPLINGS)
def test_draws_are_those_of_the_reference(name: str) -> None:
    random, sampling = np.random.default_rng(0), SAMPLINGS[name]
    for position in range(60):
        size = int(random.integers(1, 150))
        logits = (random.normal(size=size) * random.choice([0.5, 3.0, 20.0])).astype(np.float32)
        seen = random.integers(0, size, size // 3).tolist()
        mask = random.random(size) < 0.7 if position % 2 else np.ones(size, bool)
        mask[random.integers(0, size)] = True
        seeded = sampling._replace(seed=position * 0x123456789ABCDEF % 2**64)
        found = draw(logits, seeded, position, seen, mask if position % 2 else None)
        assert found.token == expected_draw(logits, position, seeded, seen, mask)


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_noise_is_that_of_the_reference_and_below_its_bound(seed: int) -> None:
    for position in (0, 7, 2**40):
        expected = gumbel(seed, position, 500)
        found = np.asarray([_native.noise(seed, position, token) for token in range(500)])
        np.testing.assert_allclose(found[:, 0], expected, rtol=1e-13)
        assert (found[:, 0] < found[:, 1]).all()


def test_the_bound_holds_for_all_bits() -> None:
    """Skipping is exact: no bits have more noise than is taken for possible when a token is skipped."""
    # Around the places where the bound steps, and anywhere.
    edges = [complement + shift for zeros in range(33) for complement in [2**32 >> zeros] for shift in range(-3, 4)]
    complements = np.asarray([one for one in edges if 0 <= one < 2**32] + [*range(0, 2**32, 2**32 // 5000)])
    bits = 2**32 - 1 - complements
    zeros = np.asarray([32 - int(one).bit_length() for one in complements])
    assert (-np.log(-np.log((bits + 0.5) / 2**32)) < (1 + zeros) * np.log(2)).all()


def test_what_is_far_below_the_best_is_still_drawn_as_often_as_it_should() -> None:
    """Skipped tokens are those that cannot win: the rare ones win at the places where the reference says so."""
    logits = np.full(400, -6.0, np.float32)
    logits[3] = 0.0
    sampling = Sampling(temperature=1.0)
    drawn = [draw(logits, sampling, position).token for position in range(300)]
    assert drawn == [int(np.argmax(logits.astype(np.float64) + gumbel(0, at, 400))) for at in range(300)]
    assert len(set(drawn)) > 50


@pytest.mark.parametrize("key", ["seed", "position"])
def test_draws_follow_the_softmax(key: str) -> None:
    logits, count = np.asarray([1.0, 0.0, 2.0, -50.0, 1.5], np.float32), 6000
    sampling = Sampling(temperature=0.5)
    if key == "seed":
        drawn = [draw(logits, sampling._replace(seed=seed), 5).token for seed in range(count)]
    else:
        drawn = [draw(logits, sampling, position).token for position in range(count)]
    found = np.bincount(drawn, minlength=5)
    weights = np.exp(logits.astype(np.float64) / 0.5)
    expected = count * weights / weights.sum()
    assert found[3] == 0
    # Chi-square with three degrees of freedom: 16.3 is passed once in a thousand, and these draws are always the same.
    assert ((found - expected)[expected > 1] ** 2 / expected[expected > 1]).sum() < 16.3


def test_neighboring_positions_and_seeds_are_independent() -> None:
    flat = np.zeros(16, np.float32)
    for sampling, positions in (
        ([Sampling(1.0)] * 4000, range(4000)),
        ([Sampling(1.0, seed=seed) for seed in range(4000)], [0] * 4000),
    ):
        drawn = [draw(flat, one, at).token for one, at in zip(sampling, positions, strict=True)]
        pairs = np.bincount(np.asarray(drawn[:-1]) * 16 + drawn[1:], minlength=256)
        # Chi-square with 255 degrees of freedom: 330 is passed once in a thousand.
        assert ((pairs - 3999 / 256) ** 2 / (3999 / 256)).sum() < 330


def test_extreme_logits_overflow_nothing() -> None:
    assert draw([1e30, -1e30, 1e30], Sampling(temperature=1e-3)).token in (0, 2)
    assert draw([-1e30, -3e38], Sampling(temperature=1e-3, top_p=0.5)).token == 0


def test_the_default_takes_the_first_of_the_most_likely() -> None:
    assert draw([0.0, 3.0, 1.0, 3.0], Sampling()).token == 1
    assert draw([0.0] * 40, Sampling(temperature=1.0, top_k=1)).token == 0


def test_logprobs_are_those_of_the_model_before_temperature() -> None:
    logits = np.random.default_rng(2).normal(size=50).astype(np.float32) * 3
    mask = np.arange(50) % 3 > 0
    allowed = np.where(mask, penalized(logits, [1, 2, 4], 1.5), -np.inf)
    expected = allowed - np.logaddexp.reduce(allowed)
    sampling = Sampling(temperature=2.0, top_k=30, repetition_penalty=1.5, logprobs=5)
    found = draw(logits, sampling, 3, [1, 2, 4], mask)
    np.testing.assert_allclose(found.logprob, expected[found.token], rtol=1e-5)
    tokens, logprobs = zip(*found.best, strict=True)
    assert list(tokens) == np.argsort(-expected)[:5].tolist()
    np.testing.assert_allclose(logprobs, np.sort(expected)[::-1][:5], rtol=1e-5)
    assert draw(logits, sampling._replace(logprobs=0)).best == []
    assert len(draw(logits, sampling._replace(logprobs=90)).best) == 50


def test_a_mask_that_allows_nothing_is_an_error() -> None:
    with pytest.raises(UserError, match="mask allows no token"):
        draw([1.0, 2.0], Sampling(), mask=np.zeros(2, bool))


def test_logits_without_a_number_are_an_error() -> None:
    with pytest.raises(UserError, match="finite"):
        draw([np.nan, np.nan], Sampling())


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"temperature": -1.0}, "temperature -1"),
        ({"temperature": float("nan")}, "temperature nan"),
        ({"temperature": float("inf")}, "temperature inf"),
        ({"top_k": -1}, "top_k -1"),
        ({"top_p": 0.0}, "top_p 0"),
        ({"top_p": 1.5}, r"top_p 1\.5"),
        ({"min_p": -0.1}, "min_p"),
        ({"min_p": 1.1}, "min_p"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"seed": -1}, "seed -1"),
        ({"seed": 1 << 64}, "seed"),
        ({"logprobs": -1}, "logprobs -1"),
    ],
)
def test_values_that_nothing_can_be_drawn_by_are_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        Sampling(**values).to_native()
