"""Rounding with feedback: its sum of costs is the output's error, and it beats rounding each weight by itself."""

from typing import NamedTuple

import numpy as np
import pytest

from codling.compress.error_feedback import Feedback, descend, feedback_of, output_error, round_with_feedback


def correlated_moments(num_inputs: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(4 * num_inputs, num_inputs)) @ random.normal(size=(num_inputs, num_inputs))
    moments: np.ndarray = inputs.T @ inputs / len(inputs)
    return moments


def draw(num_rows: int, num_columns: int, num_entries: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    weight = random.normal(size=(num_rows, num_columns)).astype(np.float32)
    tables = np.sort(random.normal(size=(num_rows, num_entries)), axis=1).astype(np.float32)
    return weight, tables


def entries(tables: np.ndarray, indices: np.ndarray) -> np.ndarray:
    return np.take_along_axis(tables, indices.astype(np.intp), axis=1)


class InRows(NamedTuple):
    """What rounding gives, as matrices."""

    indices: np.ndarray
    targets: np.ndarray
    loss: np.ndarray


def rounded_rows(weight: np.ndarray, tables: np.ndarray, feedback: Feedback) -> InRows:
    indices, targets, loss = round_with_feedback(feedback.columns_of(weight), tables, feedback)
    return InRows(feedback.matrix_of(indices), feedback.matrix_of(targets), loss)


def descended_rows(
    weight: np.ndarray, tables: np.ndarray, indices: np.ndarray, feedback: Feedback, num_passes: int
) -> np.ndarray:
    columns = feedback.columns_of(weight), feedback.columns_of(indices)
    return feedback.matrix_of(descend(columns[0], tables, columns[1], feedback, num_passes))


def test_columns_are_those_of_the_matrix_by_falling_power() -> None:
    matrix, feedback = np.arange(12.0).reshape(3, 4), feedback_of(np.diag([1.0, 4.0, 2.0, 3.0]))
    np.testing.assert_array_equal(feedback.columns_of(matrix), matrix.T[[1, 3, 2, 0]])
    np.testing.assert_array_equal(feedback.matrix_of(feedback.columns_of(matrix)), matrix)


def test_the_factors_give_the_damped_moments_back() -> None:
    moments = correlated_moments(10)
    feedback = feedback_of(moments, damping=0.01)
    whole = feedback.travel.astype(np.float64) + np.eye(10)
    damped = moments + 0.01 * np.trace(moments) / 10 * np.eye(10)
    np.testing.assert_allclose(
        whole * feedback.cost @ whole.T, damped[np.ix_(feedback.order, feedback.order)], rtol=1e-4, atol=1e-3
    )
    assert not np.tril(feedback.travel).any()


@pytest.mark.parametrize("shape", [(16, 70), (3, 1), (5, 32), (5, 64), (17, 130)])
def test_the_costs_of_the_last_errors_add_up_to_the_error_of_the_output(shape: tuple[int, int]) -> None:
    weight, tables = draw(*shape, 4)
    moments = correlated_moments(shape[1])
    feedback = feedback_of(moments, damping=1e-6)
    rounded = rounded_rows(weight, tables, feedback)
    chosen = entries(tables, rounded.indices)
    last = (rounded.targets - chosen)[:, feedback.order]
    np.testing.assert_allclose(rounded.loss, (last.astype(np.float64) ** 2 * feedback.cost).sum(axis=1), rtol=1e-4)
    assert rounded.loss.sum() == pytest.approx(output_error(weight, chosen, moments), rel=1e-3)


def test_each_target_gets_the_entry_nearest_to_it() -> None:
    weight, tables = draw(8, 20, 16)
    rounded = rounded_rows(weight, tables, feedback_of(correlated_moments(20)))
    distances = np.abs(rounded.targets[:, :, None] - tables[:, None])
    np.testing.assert_allclose(np.abs(rounded.targets - entries(tables, rounded.indices)), distances.min(axis=2))


def test_it_is_gptq() -> None:
    # arXiv 2210.17323, algorithm 1, column by column on the inverse, without blocks.
    weight, tables = draw(6, 40, 8)
    moments = correlated_moments(40)
    feedback = feedback_of(moments)
    damped = moments + 0.01 * np.trace(moments) / 40 * np.eye(40)
    left = weight[:, feedback.order].astype(np.float64)
    upper = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(feedback.order, feedback.order)])).T
    expected = np.empty_like(left)
    for column in range(40):
        expected[:, column] = tables[np.arange(6), np.abs(tables - left[:, column, None]).argmin(axis=1)]
        error = (left[:, column] - expected[:, column]) / upper[column, column]
        left[:, column:] -= error[:, None] * upper[column, column:]
    rounded = rounded_rows(weight, tables, feedback)
    np.testing.assert_array_equal(entries(tables, rounded.indices)[:, feedback.order], expected.astype(np.float32))


def test_inputs_that_are_not_correlated_need_no_feedback() -> None:
    weight, tables = draw(4, 12, 4)
    rounded = rounded_rows(weight, tables, feedback_of(np.diag(np.arange(1.0, 13.0))))
    np.testing.assert_array_equal(rounded.targets, weight)


def test_a_dead_layer_is_rounded_all_the_same() -> None:
    weight, tables = draw(4, 12, 4)
    rounded = rounded_rows(weight, tables, feedback_of(np.zeros((12, 12))))
    np.testing.assert_array_equal(rounded.targets, weight)


def test_feedback_moves_the_output_less() -> None:
    weight, tables = draw(64, 96, 16)
    moments = correlated_moments(96)
    with_it = entries(tables, rounded_rows(weight, tables, feedback_of(moments)).indices)
    without = entries(tables, rounded_rows(weight, tables, feedback_of(np.eye(96))).indices)
    assert output_error(weight, with_it, moments) < 0.7 * output_error(weight, without, moments)


def test_descent_ends_where_no_single_choice_is_better() -> None:
    weight, tables = draw(5, 14, 4)
    feedback = feedback_of(correlated_moments(14))
    start = rounded_rows(weight, tables, feedback).indices
    found = descended_rows(weight, tables, start, feedback, num_passes=50)
    damped = np.empty_like(feedback.moments)
    damped[np.ix_(feedback.order, feedback.order)] = feedback.moments

    def error_of(indices: np.ndarray) -> np.ndarray:
        difference = (weight - entries(tables, indices)).astype(np.float64)
        found: np.ndarray = np.einsum("oi,oi->o", difference @ damped, difference)
        return found

    least = error_of(found)
    assert (least <= error_of(start) * (1 + 1e-6)).all()
    assert least.sum() < error_of(start).sum()
    for column in range(14):
        for entry in range(4):
            other = found.copy()
            other[:, column] = entry
            assert (error_of(other) >= least * (1 - 1e-5)).all()


def test_descent_without_passes_changes_nothing() -> None:
    weight, tables = draw(4, 12, 4)
    feedback = feedback_of(correlated_moments(12))
    start = rounded_rows(weight, tables, feedback).indices
    np.testing.assert_array_equal(descended_rows(weight, tables, start, feedback, num_passes=0), start)
