"""Palettize one weight matrix for the inputs that it meets: tables and indices that move its output least.

Where in the recipe: palettization (arXiv 2407.21075 section 5.1), with a calibration text. `palettize` stands for each
weight as well as it can; this stands for the matrix, by `error_feedback`, of which it is the whole loop.
"""

import numpy as np
from jaxtyping import Float, Float32, Int8, UInt8

from codling.compress.error_feedback import Feedback, descend, round_with_feedback
from codling.compress.kmeans import kmeans_1d_grouped, require_finite
from codling.compress.palettize import PalettizedMatrix, pack_checked, round_tables
from codling.compress.row_scales import first_row_scales, refitted_row_scales

NUM_SWEEPS, NUM_PASSES = 3, 3
LEAST_IMPORTANCE = 1e-6
"""Of a row, relative to the mean: what the calibration text does not use is kept as well as that costs nothing."""


def palettize_calibrated(
    weight: Float[np.ndarray, "O I"],
    feedback: Feedback,
    bits: int = 4,
    rows_per_table: int = 16,
    *,
    row_importance: Float[np.ndarray, " O"] | None = None,
    with_row_scales: bool = True,
    num_sweeps: int = NUM_SWEEPS,
    num_passes: int = NUM_PASSES,
    name: str = "weight",
) -> PalettizedMatrix:
    """Palettize a matrix so that sum over outputs of importance * E[(change of the output)^2] is small.

    Shapes: any out_dim and in_dim; the last table may serve fewer rows. `feedback` is that of the matrix' input.
    Errors: `UserError` naming `name`: NaN or infinite weights.
    Price:  up to (num_sweeps + num_passes) * O * I^2 multiply-adds, and a k-means a table.
    """
    weight = np.ascontiguousarray(weight, np.float32)
    require_finite(weight, name)
    importance, order = _relative(row_importance, len(weight)), feedback.order
    row_scales, divisor = None, np.ones((len(weight), 1), np.float32)
    if with_row_scales:
        power = np.empty(weight.shape[1], np.float32)
        power[order] = np.diagonal(feedback.moments)
        row_scales = first_row_scales(weight, power, rows_per_table)
        divisor = row_scales.astype(np.float32)[:, None]
    # An error of a row that was divided is one of the row times its scale.
    importance = importance * divisor[:, 0] ** 2
    tables, scales, indices = _fitted(
        weight / divisor, importance, feedback, bits, rows_per_table, num_sweeps, num_passes, name
    )
    if row_scales is not None:
        row_tables = _of_rows(tables, scales, rows_per_table, len(weight))
        entries = np.take_along_axis(row_tables, indices.astype(np.intp), axis=1)
        row_scales = refitted_row_scales(weight[:, order], entries[:, order], row_scales, feedback.moments)
    packed = pack_checked(indices, bits, name)
    return PalettizedMatrix(packed, tables, scales, (len(weight), weight.shape[1]), bits, rows_per_table, row_scales)


def _fitted(
    weight: Float32[np.ndarray, "O I"],
    importance: Float32[np.ndarray, " O"],
    feedback: Feedback,
    bits: int,
    rows_per_table: int,
    num_sweeps: int,
    num_passes: int,
    name: str,
) -> tuple[Int8[np.ndarray, "groups P"], Float32[np.ndarray, " groups"], UInt8[np.ndarray, "O I"]]:
    """Tables, their scales and the indices of rows as they are."""
    out_dim, in_dim = weight.shape
    num_tables = -(-out_dim // rows_per_table)
    # Rows that fill the last table weigh nothing.
    filling = num_tables * rows_per_table - out_dim
    padded, importance = np.pad(weight, ((0, filling), (0, 0))), np.pad(importance, (0, filling))
    cost = np.empty(in_dim, np.float32)
    cost[feedback.order] = feedback.cost
    price = importance[:, None] * cost
    num_entries = 1 << bits
    groups, grouped_price = (array.reshape(num_tables, -1) for array in (padded, price))
    centroids, indices = kmeans_1d_grouped(groups, num_entries, grouped_price, name=name)
    best: tuple[float, np.ndarray, np.ndarray, np.ndarray] | None = None
    for _ in range(num_sweeps):
        tables, scales = round_tables(centroids, _sums(indices, grouped_price, num_entries))
        rounded = round_with_feedback(padded, _of_rows(tables, scales, rows_per_table, len(padded)), feedback)
        indices, targets = (part.reshape(num_tables, -1) for part in rounded)
        entries = np.take_along_axis(tables * scales[:, None], indices.astype(np.intp), axis=1)
        loss = grouped_price * (targets - entries) ** 2
        if best is None or loss.sum() < best[0]:
            best = float(loss.sum()), indices, tables, scales
        mass = _sums(indices, grouped_price, num_entries)
        moment = _sums(indices, grouped_price * targets, num_entries)
        centroids = np.sort(np.divide(moment, mass, out=centroids.copy(), where=mass > 0), axis=1)
    assert best is not None
    _, indices, tables, scales = best
    row_tables = _of_rows(tables, scales, rows_per_table, len(padded))
    indices = descend(padded, row_tables, indices.reshape(padded.shape), feedback, num_passes)
    return tables, scales, indices[:out_dim]


def _of_rows(
    tables: Int8[np.ndarray, "groups P"], scales: Float32[np.ndarray, " groups"], rows_per_table: int, num_rows: int
) -> Float32[np.ndarray, "O P"]:
    """The values of each row's table."""
    values = tables.astype(np.float32) * scales[:, None]
    return np.repeat(values, rows_per_table, axis=0)[:num_rows]


def _relative(row_importance: Float[np.ndarray, " O"] | None, num_rows: int) -> Float32[np.ndarray, " O"]:
    if row_importance is None or not np.any(row_importance):
        return np.ones(num_rows, np.float32)
    return np.maximum(row_importance / np.mean(row_importance), LEAST_IMPORTANCE).astype(np.float32)


def _sums(
    indices: np.ndarray, values: Float[np.ndarray, "groups G"], num_entries: int
) -> Float[np.ndarray, "groups P"]:
    """Sums of the values that chose each entry."""
    return np.stack([np.where(indices == entry, values, 0.0).sum(axis=1) for entry in range(num_entries)], axis=1)
