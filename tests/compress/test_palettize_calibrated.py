"""Palettization for given inputs: it moves the output less than any palettization that does not know them."""

import numpy as np
import pytest

from codling.compress.error_feedback import output_error
from codling.compress.palettize import palettize
from codling.compress.palettize_calibrated import palettize_calibrated
from codling.errors import UserError


def correlated_moments(num_inputs: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(4 * num_inputs, num_inputs)) @ random.normal(size=(num_inputs, num_inputs))
    moments: np.ndarray = inputs.T @ inputs / len(inputs)
    return moments


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("shape", [(64, 96), (120, 120), (40, 33), (7, 20), (16, 264)])
def test_the_output_moves_less(shape: tuple[int, int], bits: int) -> None:
    weight, moments = draw(*shape), correlated_moments(shape[1])
    found = palettize_calibrated(weight, moments, bits)
    assert (found.shape, found.bits) == (shape, bits)
    plain = output_error(weight, palettize(weight, bits).dequantize(), moments)
    assert output_error(weight, found.dequantize(), moments) < 0.7 * plain


def test_each_step_of_it_pays() -> None:
    weight, moments = draw(96, 96), correlated_moments(96)
    errors = [
        output_error(
            weight,
            palettize_calibrated(weight, moments, 2, num_sweeps=sweeps, num_passes=passes).dequantize(),
            moments,
        )
        for sweeps, passes in ((1, 0), (4, 0), (4, 4))
    ]
    assert errors[0] > errors[1] > errors[2]


def test_outputs_that_matter_are_kept_better() -> None:
    weight, moments = draw(32, 64), np.eye(64)
    importance = np.ones(32)
    importance[3] = 1000.0
    found = palettize_calibrated(weight, moments, 2, row_importance=importance).dequantize()
    plain = palettize_calibrated(weight, moments, 2).dequantize()
    assert ((weight - found)[3] ** 2).sum() < 0.9 * ((weight - plain)[3] ** 2).sum()


def test_a_matrix_of_few_values_is_kept_as_it_is() -> None:
    weight = np.random.default_rng(0).choice([-1.5, 0.5, 0.75, 1.5], size=(32, 40)).astype(np.float32)
    # 1.5 / 127 does not divide them, 1.5 / 126 does.
    np.testing.assert_allclose(palettize_calibrated(weight, correlated_moments(40), 4).dequantize(), weight, atol=1e-6)


def test_inputs_that_are_never_there_cost_nothing() -> None:
    moments = correlated_moments(24)
    moments[:, 5] = moments[5] = 0.0
    weight = draw(16, 24)
    found = palettize_calibrated(weight, moments, 4)
    assert np.isfinite(found.dequantize()).all()


def test_weights_that_are_no_numbers_are_refused_by_name() -> None:
    weight = draw(16, 8)
    weight[0, 0], weight[2, 3] = np.nan, np.inf
    with pytest.raises(UserError, match="q_proj: 2 of 128 values are NaN or infinite"):
        palettize_calibrated(weight, np.eye(8), name="q_proj")
