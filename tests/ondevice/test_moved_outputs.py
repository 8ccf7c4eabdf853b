"""What a width does to outputs: the mean square of what the palettized matrix adds, told from tables here and there."""

import numpy as np
import pytest

from codling.compress.error_feedback import feedback_of
from codling.compress.palettize_calibrated import palettize_calibrated
from codling.ondevice.moved_outputs import TRIED_TABLES, moved_outputs


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    random = np.random.default_rng(0)
    return random.standard_normal((400, 24)) @ random.standard_normal((24, 24))


@pytest.mark.parametrize("width", [2, 4])
def test_it_is_the_mean_square_over_the_text(inputs: np.ndarray, width: int) -> None:
    weight = np.random.default_rng(1).standard_normal((40, 24)).astype(np.float32)
    moments = inputs.T @ inputs / len(inputs)
    feedback = feedback_of(moments)
    moved = moved_outputs(weight, moments, feedback, width, 16, with_row_scales=True)
    small = palettize_calibrated(weight, feedback, width, 16, with_row_scales=True, num_sweeps=1, num_descents=0)
    outputs = inputs @ (weight - small.dequantize()).T
    assert moved == pytest.approx((outputs**2).mean(axis=0), rel=1e-3)


def test_of_a_large_matrix_some_tables_tell_for_all(inputs: np.ndarray) -> None:
    num_rows = 4 * TRIED_TABLES * 4
    weight = np.random.default_rng(2).standard_normal((num_rows, 24)).astype(np.float32)
    moments = inputs.T @ inputs / len(inputs)
    some = moved_outputs(weight, moments, feedback_of(moments), 4, 4, with_row_scales=False)
    number_of_each = np.unique(some, return_counts=True)[1]
    assert number_of_each.max() == num_rows - 4 * TRIED_TABLES, "those not tried have one value"
    difference = (
        weight
        - palettize_calibrated(
            weight, feedback_of(moments), 4, 4, with_row_scales=False, num_sweeps=1, num_descents=0
        ).dequantize()
    )
    assert some.mean() == pytest.approx(np.einsum("oi,ij,oj->o", difference, moments, difference).mean(), rel=0.2)
