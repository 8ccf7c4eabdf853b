"""Palettize one weight matrix for the inputs that it meets: tables and indices that move its output least.

Where in the recipe: palettization (arXiv 2407.21075 section 5.1), with a calibration text. `palettize` stands for each
weight as well as it can; this stands for the matrix, by `error_feedback`, of which it is the whole loop.
"""

import numpy as np
from jaxtyping import Float

from codling.compress.error_feedback import descend, feedback_of, round_with_feedback
from codling.compress.kmeans import kmeans_1d_grouped, require_finite
from codling.compress.palettize import PalettizedMatrix, pack_checked, round_tables

NUM_SWEEPS, NUM_PASSES = 3, 3
DAMPING = 0.01


def palettize_calibrated(
    weight: Float[np.ndarray, "O I"],
    moments: Float[np.ndarray, "I I"],
    bits: int = 4,
    rows_per_table: int = 16,
    *,
    row_importance: Float[np.ndarray, " O"] | None = None,
    num_sweeps: int = NUM_SWEEPS,
    num_passes: int = NUM_PASSES,
    damping: float = DAMPING,
    name: str = "weight",
) -> PalettizedMatrix:
    """Palettize a matrix so that sum over outputs of importance * E[(change of the output)^2] is small.

    Shapes: any out_dim and in_dim; the last table may serve fewer rows.
    Errors: `UserError` naming `name`: NaN or infinite weights.
    Price:  up to (num_sweeps + num_passes) * O * I^2 multiply-adds, and a k-means a table.
    """
    weight = np.ascontiguousarray(weight, np.float32)
    require_finite(weight, name)
    out_dim, in_dim = weight.shape
    num_tables = -(-out_dim // rows_per_table)
    # Rows that fill the last table weigh nothing.
    padded = np.zeros((num_tables * rows_per_table, in_dim), np.float32)
    padded[:out_dim] = weight
    importance = np.zeros(len(padded), np.float32)
    importance[:out_dim] = 1.0 if row_importance is None else row_importance / np.mean(row_importance)
    feedback = feedback_of(moments, damping)
    cost = np.empty(in_dim, np.float32)
    cost[feedback.order] = feedback.cost
    price = importance[:, None] * cost
    num_entries = 1 << bits
    groups, grouped_price = (array.reshape(num_tables, -1) for array in (padded, price))
    centroids, indices = kmeans_1d_grouped(groups, num_entries, grouped_price, name=name)
    best: tuple[float, np.ndarray, np.ndarray, np.ndarray] | None = None
    for _ in range(num_sweeps):
        tables, scales = round_tables(centroids, _sums(indices, grouped_price, num_entries))
        entries = tables.astype(np.float32) * scales[:, None]
        rounded = round_with_feedback(padded, np.repeat(entries, rows_per_table, axis=0), feedback)
        indices, targets = (part.reshape(num_tables, -1) for part in rounded)
        loss = grouped_price * (targets - np.take_along_axis(entries, indices.astype(np.intp), axis=1)) ** 2
        if best is None or loss.sum() < best[0]:
            best = float(loss.sum()), indices, tables, scales
        mass = _sums(indices, grouped_price, num_entries)
        moment = _sums(indices, grouped_price * targets, num_entries)
        centroids = np.sort(np.divide(moment, mass, out=centroids.copy(), where=mass > 0), axis=1)
    assert best is not None
    _, indices, tables, scales = best
    row_tables = np.repeat(tables.astype(np.float32) * scales[:, None], rows_per_table, axis=0)
    indices = descend(padded, row_tables, indices.reshape(padded.shape), feedback, num_passes)
    packed = pack_checked(indices[:out_dim], bits, name)
    return PalettizedMatrix(packed, tables, scales, (out_dim, in_dim), bits, rows_per_table)


def _sums(
    indices: np.ndarray, values: Float[np.ndarray, "groups G"], num_entries: int
) -> Float[np.ndarray, "groups P"]:
    """Sums of the values that chose each entry."""
    return np.stack([np.where(indices == entry, values, 0.0).sum(axis=1) for entry in range(num_entries)], axis=1)
