"""Bit widths: the integer program finds what trying everything finds, and says what cannot be met."""

import itertools

import numpy as np
import pytest

from codling.compress.bit_allocation import Choice, allocate_bits
from codling.errors import UserError

NAMES = ("a", "b", "c", "d", "e")


def make(seed: int) -> tuple[dict[str, int], dict[str, dict[int, Choice]]]:
    random = np.random.default_rng(seed)
    num_weights = {name: int(random.integers(10, 1000)) for name in NAMES}
    choices = {
        name: {
            width: Choice(stored_bits=(width + 0.1) * num_weights[name], loss=float(random.exponential() / width))
            for width in (2, 4, 6)
        }
        for name in NAMES
    }
    return num_weights, choices


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("target", [2.1, 3.0, 3.7, 5.5, 8.0])
def test_no_other_choice_is_better(seed: int, target: float) -> None:
    num_weights, choices = make(seed)
    total = sum(num_weights.values())
    best = np.inf
    for widths in itertools.product((2, 4, 6), repeat=len(NAMES)):
        picked = [choices[name][width] for name, width in zip(NAMES, widths, strict=True)]
        if sum(one.stored_bits for one in picked) <= target * total * (1 + 1e-9):
            best = min(best, sum(one.loss for one in picked))
    found = allocate_bits(num_weights, choices, target)
    assert found.loss == pytest.approx(best, rel=1e-3)
    assert found.bits_per_weight <= target + 1e-6
    assert found.loss == pytest.approx(sum(choices[name][found.width_bits[name]].loss for name in NAMES))


def test_an_average_below_the_range_is_refused_with_the_range() -> None:
    num_weights, choices = make(0)
    with pytest.raises(UserError, match=r"2 bits a weight cannot be met: .* from 2\.10 to 6\.10"):
        allocate_bits(num_weights, choices, 2.0)
