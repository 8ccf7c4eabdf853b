"""Round a matrix to table entries column by column, each column making up for the errors of those before it.

A linear layer's output moves by (W - Q) x when its matrix W is replaced by Q. Over a calibration text the mean square
of that is tr((W - Q) H (W - Q)^T), with H = E[x x^T] the second moments of the layer's input: not the error of each
weight by itself, as inputs are correlated. GPTQ (arXiv 2210.17323) rounds one column after the other and lets the
columns to come absorb each error. In the form of LDLQ (arXiv 2307.13304, equal by its theorem 6) with
H = (I + U) D (I + U)^T, U strictly upper triangular and D diagonal:

    target_k = W_k + sum over i < k of (W_i - Q_i) U_ik           Q_k = the table entry nearest to target_k

and the mean square is exactly sum over k of D_k |target_k - Q_k|^2.

Differs: entries of tables that 16 rows share, in place of a uniform grid. Since D and the targets say exactly what an
entry costs, tables are fitted to them: the exact weighted k-means of the weights first, then means of the targets that
chose an entry, sweep after sweep. Columns go in the order of falling input power, which a table of rows allows without
a trace in the file.

All here works on columns: arrays [I, O] whose row k is column order[k] of the matrix, so that a column is contiguous.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float, Int, Shaped, UInt8

LEAF_COLUMNS = 32
"""Columns whose feedback is summed one by one; what comes from before them is a matrix product."""


class Feedback(NamedTuple):
    """How errors travel: H = (I + U) D (I + U)^T over the columns in `order`."""

    order: Int[np.ndarray, " I"]
    """Column k of the rest is column order[k] of the matrix."""
    moments: Float[np.ndarray, "I I"]
    """H itself, damped, in that order."""
    travel: Float[np.ndarray, "I I"]
    """U, strictly upper triangular."""
    cost: Float[np.ndarray, " I"]
    """D: what the square of a column's last error costs."""

    def columns_of(self, matrix: Shaped[np.ndarray, "O I"]) -> Shaped[np.ndarray, "I O"]:
        """The columns of a matrix in this order."""
        return np.ascontiguousarray(matrix.T[self.order])

    def matrix_of(self, columns: Shaped[np.ndarray, "I O"]) -> Shaped[np.ndarray, "O I"]:
        """The matrix that has these columns."""
        return np.ascontiguousarray(columns[np.argsort(self.order)].T)


class Rounded(NamedTuple):
    """Table entries, column by column, and what each was chosen for."""

    indices: UInt8[np.ndarray, "I O"]
    targets: Float[np.ndarray, "I O"]
    """The weight and what it had to make up for."""
    loss: Float[np.ndarray, " O"]
    """The mean square by which each output moves: sum over k of D_k |target_k - Q_k|^2."""


def feedback_of(moments: Float[np.ndarray, "I I"], damping: float = 0.01) -> Feedback:
    """Factor the second moments of a layer's input.

    `damping` times the mean of the diagonal is added to it (GPTQ's 0.01): inputs that the calibration text hardly moves
    are not to carry everybody's errors.
    """
    power = np.diagonal(moments).astype(np.float64)
    order = np.argsort(-power, kind="stable")
    # A text that leaves every input at zero (a dead layer) still needs a positive definite matrix.
    floor = damping * float(power.mean()) or 1.0
    # A Cholesky factor is lower triangular; of the matrix turned around it is the upper one of the matrix.
    turned = moments[np.ix_(order[::-1], order[::-1])].astype(np.float64, copy=False)
    turned[np.diag_indices_from(turned)] += floor
    damped = np.ascontiguousarray(turned[::-1, ::-1], np.float32)
    # Symmetric, so the transpose is the matrix itself, in the order of memory that LAPACK overwrites without a copy.
    lower = scipy.linalg.cholesky(turned.T, lower=True, overwrite_a=True, check_finite=False)
    upper = lower[::-1, ::-1]
    root = np.diagonal(upper).copy()
    travel = np.empty(upper.shape, np.float32)
    np.divide(upper, root, out=travel, casting="same_kind")
    np.fill_diagonal(travel, 0.0)
    return Feedback(order, damped, travel, (root * root).astype(np.float32))


def round_with_feedback(
    columns: Float[np.ndarray, "I O"], row_tables: Float[np.ndarray, "O P"], feedback: Feedback
) -> Rounded:
    """Choose an entry of its row's table for each weight.

    Shapes: row_tables are ascending.
    Price:  O * I^2 / 2 multiply-adds.
    """
    tables, indices = _Tables(row_tables), np.empty(columns.shape, np.uint8)
    targets, loss = columns.astype(np.float32), np.zeros(columns.shape[1])

    def error_of(column: int, target: Float[np.ndarray, " O"]) -> Float[np.ndarray, " O"]:
        indices[column] = tables.nearest(target)
        entries = tables.entries(indices[column])
        np.add(loss, feedback.cost[column] * np.square(target - entries), out=loss)
        error: np.ndarray = columns[column] - entries
        return error

    _one_after_the_other(targets, feedback.travel, error_of)
    return Rounded(indices, targets, loss)


def descend(
    columns: Float[np.ndarray, "I O"],
    row_tables: Float[np.ndarray, "O P"],
    indices: UInt8[np.ndarray, "I O"],
    feedback: Feedback,
    num_passes: int,
) -> UInt8[np.ndarray, "I O"]:
    """Choose each entry anew, given all others, column by column and again: the error of the output never grows.

    Rounding with feedback sees the columns before it; this sees all of them (arXiv 2309.01885). The best value of one
    weight, all others fixed, is its entry plus the gradient over H_kk, and of a table the entry nearest to that.
    Price:  num_passes * O * I^2 * 3 / 2 multiply-adds at most; a pass that changes nothing is the last.
    """
    indices = indices.copy()
    for _ in range(num_passes):
        if not _descended(columns, row_tables, indices, feedback):
            break
    return indices


def _descended(
    columns: Float[np.ndarray, "I O"],
    row_tables: Float[np.ndarray, "O P"],
    indices: UInt8[np.ndarray, "I O"],
    feedback: Feedback,
) -> bool:
    """One pass, in place; whether anything changed."""
    tables, power = _Tables(row_tables), np.diagonal(feedback.moments)
    entries = entries_of(row_tables, indices)
    gradients = feedback.moments @ (columns - entries).astype(np.float32)

    def change_of(column: int, gradient: Float[np.ndarray, " O"]) -> Float[np.ndarray, " O"]:
        indices[column] = tables.nearest(entries[column] + gradient / power[column])
        change: np.ndarray = entries[column] - tables.entries(indices[column])
        return change

    return bool(_one_after_the_other(gradients, feedback.moments, change_of).any())


def entries_of(row_tables: Float[np.ndarray, "O P"], indices: UInt8[np.ndarray, "I O"]) -> Float[np.ndarray, "I O"]:
    """The entries that the indices stand for."""
    tables = _Tables(row_tables)
    return np.stack([tables.entries(column) for column in indices])


def _one_after_the_other(
    values: Float[np.ndarray, "I O"],
    coupling: Float[np.ndarray, "I I"],
    outcome_of: Callable[[int, Float[np.ndarray, " O"]], Float[np.ndarray, " O"]],
) -> Float[np.ndarray, "I O"]:
    """outcome_k = outcome_of(k, value_k + sum over i < k of coupling_ik outcome_i); values come to be those sums.

    Halves of halves: what the first half does to the second is one matrix product.
    """
    outcomes = np.empty_like(values)

    def work(begin: int, end: int) -> None:
        if end - begin <= LEAF_COLUMNS:
            for column in range(begin, end):
                values[column] += coupling[begin:column, column] @ outcomes[begin:column]
                outcomes[column] = outcome_of(column, values[column])
            return
        middle = (begin + end) // 2
        work(begin, middle)
        values[middle:end] += coupling[begin:middle, middle:end].T @ outcomes[begin:middle]
        work(middle, end)

    work(0, len(values))
    return outcomes


class _Tables:
    """The tables of all rows, looked up for a column at a time."""

    def __init__(self, row_tables: Float[np.ndarray, "O P"]) -> None:
        num_rows, num_entries = row_tables.shape
        self._midpoints = np.ascontiguousarray(((row_tables[:, :-1] + row_tables[:, 1:]) / 2).T)
        self._flat = np.ascontiguousarray(row_tables).ravel()
        self._begins = np.arange(num_rows) * num_entries
        self._above: Bool[np.ndarray, "P-1 O"] = np.empty(self._midpoints.shape, np.bool_)

    def nearest(self, values: Float[np.ndarray, " O"]) -> UInt8[np.ndarray, " O"]:
        """The entry of each row's table nearest to its value."""
        np.greater(values, self._midpoints, out=self._above)
        nearest: np.ndarray = np.add.reduce(self._above.view(np.uint8), axis=0, dtype=np.uint8)
        return nearest

    def entries(self, indices: UInt8[np.ndarray, " O"]) -> Float[np.ndarray, " O"]:
        """The entries that the indices stand for."""
        entries: np.ndarray = self._flat.take(self._begins + indices)
        return entries


def output_error(
    weight: Float[np.ndarray, "O I"], rounded: Float[np.ndarray, "O I"], moments: Float[np.ndarray, "I I"]
) -> float:
    """tr((W - Q) H (W - Q)^T): the mean square by which the layer's output moves, summed over outputs."""
    difference = (weight - rounded).astype(np.float64)
    return float(np.einsum("oi,oi->", difference @ moments, difference))
