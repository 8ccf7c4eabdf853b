"""Scales of rows: the sizes of rows to begin with, and no scale near the refitted one is better."""

import numpy as np
import pytest

from codling.compress.row_scales import LARGEST, SMALLEST, first_row_scales, refitted_row_scales


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def moments_of(num_inputs: int) -> np.ndarray:
    inputs = draw(4 * num_inputs, num_inputs) @ draw(num_inputs, num_inputs, seed=1)
    moments: np.ndarray = inputs.T @ inputs / len(inputs)
    return moments


def error(weight: np.ndarray, entries: np.ndarray, scales: np.ndarray, moments: np.ndarray) -> np.ndarray:
    difference = weight - entries * scales.astype(np.float64)[:, None]
    found: np.ndarray = np.einsum("oi,oi->o", difference @ moments, difference)
    return found


@pytest.mark.parametrize("num_rows", [16, 40, 7])
def test_rows_of_a_table_come_to_have_one_size(num_rows: int) -> None:
    sizes = np.random.default_rng(1).uniform(0.1, 5.0, num_rows)
    weight, power = draw(num_rows, 30) * sizes[:, None].astype(np.float32), np.arange(1.0, 31.0)
    scaled = weight / first_row_scales(weight.T, power, 16)[:, None]
    norms = np.sqrt((scaled.astype(np.float64) ** 2) @ power)
    before = np.sqrt((weight.astype(np.float64) ** 2) @ power)
    for first in range(0, num_rows, 16):
        np.testing.assert_allclose(norms[first : first + 16], before[first : first + 16].mean(), rtol=1e-3)


def test_rows_of_zeros_have_no_say_and_no_size() -> None:
    weight = draw(16, 8)
    weight[3] = 0.0
    scales = first_row_scales(weight.T, np.ones(8), 16)
    assert scales[3] == 1
    np.testing.assert_array_equal(
        np.delete(scales, 3), first_row_scales(np.delete(weight, 3, axis=0).T, np.ones(8), 16)
    )
    np.testing.assert_array_equal(first_row_scales(np.zeros((4, 5), np.float32), np.ones(4), 16), np.ones(5))


def test_no_scale_is_too_small_for_sixteen_bits() -> None:
    weight = draw(16, 8)
    weight[0] *= np.float32(1e-12)
    assert first_row_scales(weight.T, np.ones(8), 16)[0] == SMALLEST > 0
    assert first_row_scales(weight.T, np.ones(8), 16).dtype == np.float16


def test_no_scale_near_by_is_better_than_the_refitted_one() -> None:
    weight, moments = draw(12, 20), moments_of(20)
    entries = np.sign(weight)
    found = refitted_row_scales(weight.T, entries.T, np.ones(12, np.float16), moments)
    least = error(weight, entries, found, moments)
    for beside in (-np.inf, np.inf):
        assert (error(weight, entries, np.nextafter(found, np.float16(beside)), moments) >= least).all()


@pytest.mark.parametrize("entries", [np.zeros((3, 4)), -np.ones((3, 4)), np.full((3, 4), 1e-9)])
def test_a_scale_stays_where_no_positive_one_fits(entries: np.ndarray) -> None:
    weight, scales = np.ones((3, 4), np.float32), np.asarray([0.5, 1.0, 2.0], np.float16)
    found = refitted_row_scales(weight.T, entries.astype(np.float32).T, scales, np.eye(4, dtype=np.float32))
    assert (found > 0).all()
    assert (found <= LARGEST).all()
    if entries.max() <= 0:
        np.testing.assert_array_equal(found, scales)
