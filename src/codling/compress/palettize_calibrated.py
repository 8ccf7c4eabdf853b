"""Palettize one weight matrix for the inputs that it meets: tables and indices that move its output least.

Where in the recipe: palettization (arXiv 2407.21075 section 5.1), with a calibration text. `palettize` stands for each
weight as well as it can; this stands for the matrix, by `error_feedback`, of which it is the whole loop.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float16, Float32, Int, Int8, UInt8

from codling.compress.cores import on_all_cores
from codling.compress.error_feedback import Feedback, Rounded, descend, entries_of, round_with_feedback
from codling.compress.kmeans import kmeans_1d_grouped, require_finite
from codling.compress.palettize import PalettizedMatrix, pack_checked, round_tables
from codling.compress.partition import MIN_CELLS_PER_CLUSTER
from codling.compress.row_scales import first_row_scales, refitted_row_scales

NUM_SWEEPS, NUM_DESCENTS = 3, 3
LEAST_IMPORTANCE = 1e-6
"""Of a row, relative to the mean: what the calibration text does not use is kept as well as that costs nothing."""
NUM_BINS = 4096
"""Values of a table that are told apart before the first sweep; entries are whole multiples of 1/127 of the largest."""
LEAST_WIDTH = NUM_BINS / float(np.finfo(np.float32).max)
"""Of a range that float32 can cut into so many parts."""
SUMMED_WEIGHTS = 1 << 20
"""Weights that are added up at a time."""
ROWS_OF_PART = 1024
"""Rows that one core works on: few enough for all cores to have some, and for little memory."""


class _Fitted(NamedTuple):
    """The best of the sweeps, table by table."""

    loss: Float[np.ndarray, " groups"]
    tables: Int8[np.ndarray, "groups P"]
    scales: Float32[np.ndarray, " groups"]
    indices: UInt8[np.ndarray, "I O"]


def palettize_calibrated(
    weight: Float[np.ndarray, "O I"],
    feedback: Feedback,
    bits: int = 4,
    rows_per_table: int = 16,
    *,
    row_importance: Float[np.ndarray, " O"] | None = None,
    with_row_scales: bool = True,
    num_sweeps: int = NUM_SWEEPS,
    num_descents: int = NUM_DESCENTS,
    name: str = "weight",
) -> PalettizedMatrix:
    """Palettize a matrix so that sum over outputs of importance * E[(change of the output)^2] is small.

    Shapes: any out_dim and in_dim; the last table may serve fewer rows. `feedback` is that of the matrix' input.
    Errors: `UserError` naming `name`: NaN or infinite weights.
    Price:  (num_sweeps / 2 + 3 / 2 num_descents + 1) * O * I^2 multiply-adds, and a k-means a table.
    """
    weight = np.ascontiguousarray(weight, np.float32)
    require_finite(weight, name)
    importance = _relative(row_importance, len(weight))

    def part(rows: slice) -> _Part:
        return _palettized_rows(
            weight[rows],
            importance[rows],
            feedback,
            bits,
            rows_per_table,
            with_row_scales=with_row_scales,
            num_sweeps=num_sweeps,
            num_descents=num_descents,
            name=name,
        )

    step = rows_per_table * max(1, ROWS_OF_PART // rows_per_table)
    parts = on_all_cores(part, [slice(begin, begin + step) for begin in range(0, len(weight), step)])
    packed = pack_checked(np.concatenate([one.indices for one in parts]), bits, name)
    return PalettizedMatrix(
        packed,
        np.concatenate([one.tables for one in parts]),
        np.concatenate([one.scales for one in parts]),
        (len(weight), weight.shape[1]),
        bits,
        rows_per_table,
        np.concatenate([one.row_scales for one in parts]) if with_row_scales else None,
    )


class _Part(NamedTuple):
    """Of some rows of a matrix."""

    indices: UInt8[np.ndarray, "O I"]
    tables: Int8[np.ndarray, "groups P"]
    scales: Float32[np.ndarray, " groups"]
    row_scales: Float16[np.ndarray, " O"] | None


def _palettized_rows(
    weight: Float32[np.ndarray, "O I"],
    importance: Float32[np.ndarray, " O"],
    feedback: Feedback,
    bits: int,
    rows_per_table: int,
    *,
    with_row_scales: bool,
    num_sweeps: int,
    num_descents: int,
    name: str,
) -> _Part:
    columns, row_scales, divisor = feedback.columns_of(weight), None, np.ones(len(weight), np.float32)
    if with_row_scales:
        row_scales = first_row_scales(columns, np.diagonal(feedback.moments), rows_per_table)
        divisor = row_scales.astype(np.float32)
    # An error of a row that was divided is one of the row times its scale.
    importance = importance * divisor**2
    _, tables, scales, indices = _fitted(
        columns / divisor, importance, feedback, bits, rows_per_table, num_sweeps, name
    )
    row_tables = _of_rows(tables, scales, rows_per_table, len(weight))
    indices = descend(columns / divisor, row_tables, indices, feedback, num_descents)
    if row_scales is not None:
        row_scales = refitted_row_scales(columns, entries_of(row_tables, indices), row_scales, feedback.moments)
    return _Part(feedback.matrix_of(indices), tables, scales, row_scales)


def _fitted(
    columns: Float32[np.ndarray, "I O"],
    importance: Float32[np.ndarray, " O"],
    feedback: Feedback,
    bits: int,
    rows_per_table: int,
    num_sweeps: int,
    name: str,
) -> _Fitted:
    """Tables fitted to the weights, then to what rounding makes of them."""
    tables_of_rows = np.arange(columns.shape[1]) // rows_per_table
    centroids, mass = _first_tables(columns, importance, feedback.cost, 1 << bits, rows_per_table, name)
    best: _Fitted | None = None
    for sweep in range(num_sweeps):
        tables, scales = round_tables(centroids, mass)
        rounded = round_with_feedback(columns, _of_rows(tables, scales, rows_per_table, len(importance)), feedback)
        loss = np.bincount(tables_of_rows, importance * rounded.loss)
        found = _Fitted(loss, tables, scales, rounded.indices)
        best = found if best is None else _better(best, found, tables_of_rows)
        if sweep + 1 == num_sweeps:
            break
        mass, moment = _sums(rounded, feedback.cost, importance, tables_of_rows, centroids.shape)
        centroids = np.sort(np.divide(moment, mass, out=centroids.copy(), where=mass > 0), axis=1)
    assert best is not None
    return best


def _first_tables(
    columns: Float32[np.ndarray, "I O"],
    importance: Float32[np.ndarray, " O"],
    cost: Float32[np.ndarray, " I"],
    num_entries: int,
    rows_per_table: int,
    name: str,
) -> tuple[Float[np.ndarray, "groups P"], Float[np.ndarray, "groups P"]]:
    """Clusters of the weights as they are, and what each weighs."""
    groups = []
    for first in range(0, len(importance), rows_per_table):
        rows = slice(first, first + rows_per_table)
        values, prices = columns[:, rows].ravel(), (cost[:, None] * importance[rows]).ravel()
        # Rows that fill the last table weigh nothing.
        filling = (0, len(columns) * rows_per_table - len(values))
        groups.append(_binned(np.pad(values, filling), np.pad(prices, filling)))
    values, prices = (np.stack(column) for column in zip(*groups, strict=True))
    num_cells = MIN_CELLS_PER_CLUSTER * num_entries
    centroids, indices = kmeans_1d_grouped(values, num_entries, prices, num_cells=num_cells, name=name)
    weighed = [np.where(indices == entry, prices, 0.0).sum(axis=1) for entry in range(num_entries)]
    return centroids, np.stack(weighed, axis=1)


def _binned(
    values: Float32[np.ndarray, " G"], prices: Float32[np.ndarray, " G"]
) -> tuple[Float[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
    """Many values as few: the means of NUM_BINS equal parts of their range, and what falls into each."""
    if len(values) <= NUM_BINS:
        return values, prices
    lowest, highest = float(values.min()), float(values.max())
    width = highest - lowest
    # A group of one value has no parts: all of it falls into the first.
    bins_per_unit = NUM_BINS / width if width > LEAST_WIDTH else 0.0
    bins = np.minimum(((values - lowest) * bins_per_unit).astype(np.intp), NUM_BINS - 1)
    mass, moment = (np.bincount(bins, weights, NUM_BINS) for weights in (prices, prices * values))
    empty = np.linspace(lowest, highest, NUM_BINS)
    return np.divide(moment, mass, out=empty, where=mass > 0), mass


def _better(one: _Fitted, other: _Fitted, tables_of_rows: Int[np.ndarray, " O"]) -> _Fitted:
    """Of each table the better of two."""
    is_better = other.loss < one.loss
    return _Fitted(
        np.where(is_better, other.loss, one.loss),
        np.where(is_better[:, None], other.tables, one.tables),
        np.where(is_better, other.scales, one.scales),
        np.where(is_better[tables_of_rows], other.indices, one.indices),
    )


def _sums(
    rounded: Rounded,
    cost: Float32[np.ndarray, " I"],
    importance: Float32[np.ndarray, " O"],
    tables_of_rows: Int[np.ndarray, " O"],
    shape: tuple[int, ...],
) -> tuple[Float[np.ndarray, "groups P"], Float[np.ndarray, "groups P"]]:
    """Of all that chose an entry the sum of what it weighs, and of that times its target."""
    mass, moment = np.zeros(shape).ravel(), np.zeros(shape).ravel()
    first_entries, step = tables_of_rows * shape[1], max(1, SUMMED_WEIGHTS // len(importance))
    for begin in range(0, len(cost), step):
        some = slice(begin, begin + step)
        entries = (first_entries + rounded.indices[some]).ravel()
        prices = cost[some, None] * importance
        mass += np.bincount(entries, prices.ravel(), mass.size)
        moment += np.bincount(entries, (prices * rounded.targets[some]).ravel(), mass.size)
    return mass.reshape(shape), moment.reshape(shape)


def _of_rows(
    tables: Int8[np.ndarray, "groups P"], scales: Float32[np.ndarray, " groups"], rows_per_table: int, num_rows: int
) -> Float32[np.ndarray, "O P"]:
    """The values of each row's table."""
    values = tables.astype(np.float32) * scales[:, None]
    return np.repeat(values, rows_per_table, axis=0)[:num_rows]


def _relative(row_importance: Float[np.ndarray, " O"] | None, num_rows: int) -> Float32[np.ndarray, " O"]:
    if row_importance is None or not np.any(row_importance):
        return np.ones(num_rows, np.float32)
    relative: np.ndarray = np.maximum(row_importance / np.mean(row_importance), LEAST_IMPORTANCE).astype(np.float32)
    return relative
