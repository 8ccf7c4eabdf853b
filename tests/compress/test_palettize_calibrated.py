"""Palettization for given inputs: it moves the output less than any palettization that does not know them."""

from typing import Any

import numpy as np
import pytest

from codling.compress import palettize_calibrated as module
from codling.compress.error_feedback import feedback_of, output_error
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
@pytest.mark.parametrize("shape", [(64, 96), (120, 120), (40, 33), (7, 40), (16, 264)])
def test_the_output_moves_less(shape: tuple[int, int], bits: int) -> None:
    weight, moments = draw(*shape), correlated_moments(shape[1])
    found = palettize_calibrated(weight, feedback_of(moments), bits)
    assert (found.shape, found.bits) == (shape, bits)
    plain = output_error(weight, palettize(weight, bits).dequantize(), moments)
    assert output_error(weight, found.dequantize(), moments) < 0.7 * plain


def test_each_step_of_it_pays() -> None:
    weight, moments = draw(96, 96), correlated_moments(96)

    def error(sweeps: int, descents: int) -> float:
        found = palettize_calibrated(weight, feedback_of(moments), 2, num_sweeps=sweeps, num_descents=descents)
        return output_error(weight, found.dequantize(), moments)

    assert error(1, 0) > error(4, 0) > error(4, 4)


def test_outputs_that_matter_are_kept_better() -> None:
    weight, moments = draw(32, 64), np.eye(64)
    importance = np.ones(32)
    importance[3] = 1000.0
    found = palettize_calibrated(weight, feedback_of(moments), 2, row_importance=importance).dequantize()
    plain = palettize_calibrated(weight, feedback_of(moments), 2).dequantize()
    assert ((weight - found)[3] ** 2).sum() < 0.9 * ((weight - plain)[3] ** 2).sum()


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("seed", [0, 1])
def test_rows_of_different_size_move_the_output_less_with_scales_of_their_own(bits: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    moments, importance = correlated_moments(96, seed), random.uniform(0.2, 5.0, 56)
    weight = (random.normal(size=(56, 96)) * np.exp(random.normal(size=(56, 1)))).astype(np.float32)

    def error(**choices: Any) -> float:
        found = palettize_calibrated(weight, feedback_of(moments), bits, row_importance=importance, **choices)
        root = np.sqrt(importance)[:, None]
        return output_error(weight * root, found.dequantize() * root, moments)

    assert error(with_row_scales=True) < 0.9 * error(with_row_scales=False)


@pytest.mark.parametrize("bits", [2, 4])
def test_scales_of_rows_do_no_harm_where_rows_are_alike(bits: int) -> None:
    weight, feedback = draw(64, 96), feedback_of(correlated_moments(96))
    errors = [
        output_error(
            weight,
            palettize_calibrated(weight, feedback, bits, with_row_scales=with_row_scales).dequantize(),
            correlated_moments(96),
        )
        for with_row_scales in (True, False)
    ]
    assert errors[0] <= 1.03 * errors[1]


def test_rows_that_are_multiples_of_each_other_share_a_table_as_if_they_were_one() -> None:
    row = np.random.default_rng(0).choice([-1.5, 0.5, 0.75, 1.5], size=40)
    weight = (row * np.exp2(np.arange(16) % 5)[:, None]).astype(np.float32)
    found = palettize_calibrated(weight, feedback_of(correlated_moments(40)), 2)
    np.testing.assert_allclose(found.dequantize(), weight, rtol=5e-3)
    without = palettize_calibrated(weight, feedback_of(correlated_moments(40)), 2, with_row_scales=False)
    assert np.abs(without.dequantize() / weight - 1).max() > 0.2


def test_what_no_output_hears_of_is_kept_all_the_same() -> None:
    weight, importance = draw(32, 24), np.ones(32)
    importance[:16] = 0.0
    for row_importance in (importance, np.zeros(32)):
        found = palettize_calibrated(weight, feedback_of(np.eye(24)), 4, row_importance=row_importance).dequantize()
        assert np.abs(found - weight).max() < 0.5


def test_a_matrix_of_few_values_is_kept_as_it_is() -> None:
    weight = np.random.default_rng(0).choice([-1.5, 0.5, 0.75, 1.5], size=(32, 40)).astype(np.float32)
    # 1.5 / 127 does not divide them, 1.5 / 126 does.
    found = palettize_calibrated(weight, feedback_of(correlated_moments(40)), 4, with_row_scales=False)
    np.testing.assert_allclose(found.dequantize(), weight, atol=1e-6)


@pytest.mark.parametrize("in_dim", [24, 600])
@pytest.mark.parametrize("value", [0.0, -0.25, 1e-38])
def test_a_matrix_of_one_value_is_kept_as_it_is(in_dim: int, value: float) -> None:
    weight = np.full((20, in_dim), value, np.float32)
    found = palettize_calibrated(weight, feedback_of(np.eye(in_dim)), 4).dequantize()
    np.testing.assert_allclose(found, weight, rtol=1e-2, atol=1e-30)


def test_large_groups_are_clustered_as_well_as_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, moments = np.random.default_rng(0).standard_t(4, size=(32, 640)).astype(np.float32), correlated_moments(640)
    binned = output_error(weight, palettize_calibrated(weight, feedback_of(moments), 4).dequantize(), moments)
    monkeypatch.setattr(module, "NUM_BINS", weight.size)
    exact = output_error(weight, palettize_calibrated(weight, feedback_of(moments), 4).dequantize(), moments)
    assert binned < 1.02 * exact


@pytest.mark.parametrize("rows_of_part", [16, 33, 64])
def test_rows_are_worked_on_in_parts_that_know_nothing_of_each_other(
    monkeypatch: pytest.MonkeyPatch, rows_of_part: int
) -> None:
    weight, feedback = draw(120, 40), feedback_of(correlated_moments(40))
    importance = np.linspace(0.5, 2.0, len(weight))
    whole = palettize_calibrated(weight, feedback, row_importance=importance)
    monkeypatch.setattr(module, "ROWS_OF_PART", rows_of_part)
    parts = palettize_calibrated(weight, feedback, row_importance=importance)
    for one, other in zip(parts, whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_inputs_that_are_never_there_cost_nothing() -> None:
    moments = correlated_moments(24)
    moments[:, 5] = moments[5] = 0.0
    weight = draw(16, 24)
    found = palettize_calibrated(weight, feedback_of(moments), 4)
    assert np.isfinite(found.dequantize()).all()


def test_weights_that_are_no_numbers_are_refused_by_name() -> None:
    weight = draw(16, 8)
    weight[0, 0], weight[2, 3] = np.nan, np.inf
    with pytest.raises(UserError, match="q_proj: 2 of 128 values are NaN or infinite"):
        palettize_calibrated(weight, feedback_of(np.eye(8)), name="q_proj")
