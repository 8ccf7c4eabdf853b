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
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int, UInt8

COLUMNS_PER_BLOCK = 64
"""Columns whose feedback is summed one by one; what comes from before the block is one matrix product."""


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


class Rounded(NamedTuple):
    """A matrix of table entries, and what each was chosen for."""

    indices: UInt8[np.ndarray, "O I"]
    targets: Float[np.ndarray, "O I"]
    """The weight and what it had to make up for."""


def feedback_of(moments: Float[np.ndarray, "I I"], damping: float = 0.01) -> Feedback:
    """Factor the second moments of a layer's input.

    `damping` times the mean of the diagonal is added to it (GPTQ's 0.01): inputs that the calibration text hardly moves
    are not to carry everybody's errors.
    """
    power = np.diagonal(moments).astype(np.float64)
    order = np.argsort(-power, kind="stable")
    # A text that leaves every input at zero (a dead layer) still needs a positive definite matrix.
    floor = damping * float(power.mean()) or 1.0
    damped = moments[np.ix_(order, order)].astype(np.float64)
    damped[np.diag_indices_from(damped)] += floor
    # A Cholesky factor is lower triangular; of the matrix turned around it is the upper one of the matrix.
    upper = scipy.linalg.cholesky(damped[::-1, ::-1], lower=True, check_finite=False)[::-1, ::-1]
    root = np.diagonal(upper).copy()
    travel = (upper / root).astype(np.float32)
    np.fill_diagonal(travel, 0.0)
    return Feedback(order, damped.astype(np.float32), travel, (root * root).astype(np.float32))


def round_with_feedback(
    weight: Float[np.ndarray, "O I"], row_tables: Float[np.ndarray, "O P"], feedback: Feedback
) -> Rounded:
    """Choose an entry of its row's table for each weight.

    Shapes: row_tables are ascending; targets and indices come in the matrix' own order of columns.
    Price:  O * I^2 multiply-adds.
    """
    ordered = weight[:, feedback.order].astype(np.float32)
    num_rows, num_columns = ordered.shape
    rows = np.arange(num_rows)
    midpoints = (row_tables[:, :-1] + row_tables[:, 1:]) / 2
    errors = np.zeros_like(ordered)
    targets = np.empty_like(ordered)
    indices = np.empty(ordered.shape, np.uint8)
    for begin in range(0, num_columns, COLUMNS_PER_BLOCK):
        end = min(begin + COLUMNS_PER_BLOCK, num_columns)
        targets[:, begin:end] = ordered[:, begin:end] + errors[:, :begin] @ feedback.travel[:begin, begin:end]
        block_errors = np.zeros((end - begin, num_rows), np.float32)  # a column is a row here: contiguous
        for column in range(begin, end):
            within = column - begin
            targets[:, column] += feedback.travel[begin:column, column] @ block_errors[:within]
            indices[:, column] = (targets[:, column, None] > midpoints).sum(axis=1, dtype=np.uint8)
            block_errors[within] = ordered[:, column] - row_tables[rows, indices[:, column]]
        errors[:, begin:end] = block_errors.T
    back = np.argsort(feedback.order)
    return Rounded(indices[:, back], targets[:, back])


def descend(
    weight: Float[np.ndarray, "O I"],
    row_tables: Float[np.ndarray, "O P"],
    indices: UInt8[np.ndarray, "O I"],
    feedback: Feedback,
    num_passes: int,
) -> UInt8[np.ndarray, "O I"]:
    """Choose each entry anew, given all others, column by column and again: the error of the output never grows.

    Rounding with feedback sees the columns before it; this sees all of them (arXiv 2309.01885). The best value of one
    weight, all others fixed, is its entry plus the gradient over H_kk, and of a table the entry nearest to that.
    Price:  num_passes * O * I^2 multiply-adds at most: rows in which nothing changes cost nothing.
    """
    midpoints = (row_tables[:, :-1] + row_tables[:, 1:]) / 2
    chosen = indices[:, feedback.order]
    entries = np.take_along_axis(row_tables, chosen.astype(np.intp), axis=1)
    gradient = (weight[:, feedback.order] - entries).astype(np.float32) @ feedback.moments
    power = np.diagonal(feedback.moments)
    for _ in range(num_passes):
        before = chosen.copy()
        for column in range(chosen.shape[1]):
            best = entries[:, column] + gradient[:, column] / power[column]
            picked = (best[:, None] > midpoints).sum(axis=1, dtype=np.uint8)
            moved = np.flatnonzero(picked != chosen[:, column])
            if not len(moved):
                continue
            values = row_tables[moved, picked[moved]]
            gradient[moved] -= (values - entries[moved, column])[:, None] * feedback.moments[column]
            entries[moved, column], chosen[moved, column] = values, picked[moved]
        if np.array_equal(before, chosen):
            break
    return chosen[:, np.argsort(feedback.order)]


def output_error(
    weight: Float[np.ndarray, "O I"], rounded: Float[np.ndarray, "O I"], moments: Float[np.ndarray, "I I"]
) -> float:
    """tr((W - Q) H (W - Q)^T): the mean square by which the layer's output moves, summed over outputs."""
    difference = (weight - rounded).astype(np.float64)
    return float(np.einsum("oi,oi->", difference @ moments, difference))
