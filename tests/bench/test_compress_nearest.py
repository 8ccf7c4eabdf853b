"""Rounding to nearest against a loop over single weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codling.artifact.bundle import load_bundle
from codling.bench.compress_nearest import WIDTHS_BITS, compress_nearest, round_to_nearest
from codling.bench.peer_result import PeerInput


@pytest.mark.parametrize("width_bits", WIDTHS_BITS)
def test_each_weight_becomes_the_nearest_of_its_group(width_bits: int) -> None:
    weight = np.random.default_rng(0).normal(size=(5, 20)).astype(np.float32)
    stored = round_to_nearest(weight, width_bits, 8)
    for row in range(5):
        for group in (slice(0, 8), slice(8, 16), slice(16, 20)):
            zero = np.float32(np.float16(weight[row, group].min()))
            scale = np.float32(np.float16((weight[row, group].max() - zero) / (2**width_bits - 1)))
            values = [zero + scale * index for index in range(2**width_bits)]
            nearest = [min(values, key=lambda value: abs(value - one)) for one in weight[row, group]]
            np.testing.assert_allclose(stored.values[row, group], nearest, rtol=1e-6)
    assert stored.stored_bits == 5 * (20 * width_bits + 3 * 32)


def test_a_group_of_one_value_stays() -> None:
    weight = np.full((2, 8), 0.25, np.float32)
    np.testing.assert_array_equal(round_to_nearest(weight, 3, 8).values, weight)


def test_bits_of_a_model(pair: Any, tmp_path: Path) -> None:
    four, three = compress_nearest(PeerInput(load_bundle(pair.server), [], tmp_path, None, print))
    assert four.bits_per_weight_projections == pytest.approx(three.bits_per_weight_projections + 1)
    assert four.bits_per_weight_total < three.bits_per_weight_total + 1
    assert "4 bits" in four.name
    assert "3 bits" in three.name
