"""Rotations keep lengths, undo themselves, and spread what stands out."""

import numpy as np
import pytest

from codling.compress.hadamard import num_turned_together, turned


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("width", "size"), [(1, 1), (7, 1), (12, 4), (16, 16), (96, 32), (3072, 1024)])
def test_blocks_are_the_largest_power_of_two_that_divides(width: int, size: int) -> None:
    assert num_turned_together(width) == size


@pytest.mark.parametrize("shape", [(5, 16), (16, 5), (12, 3, 24)])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_twice_is_nothing_and_lengths_stay(shape: tuple[int, ...], axis: int) -> None:
    values = draw(*shape)
    once = turned(values, axis)
    np.testing.assert_allclose(turned(once, axis), values, atol=1e-5)
    np.testing.assert_allclose((once**2).sum(axis=axis), (values**2).sum(axis=axis), rtol=1e-5)


def test_it_is_sylvester_s_matrix_block_by_block() -> None:
    two = np.asarray([[1, 1], [1, -1]])
    expected = np.kron(np.eye(3), np.kron(two, two) / 2)
    np.testing.assert_allclose(turned(np.eye(12), 0), expected)
    np.testing.assert_allclose(turned(draw(12, 5), 0), expected @ draw(12, 5), atol=1e-5)


def test_what_stands_out_is_spread() -> None:
    values = np.zeros((1, 64))
    values[0, 17] = 8.0
    np.testing.assert_allclose(np.abs(turned(values, 1)), 1.0)
