"""k-means for one-dimensional data, exact and weighted, over many groups at once.

The heart of palettization (arXiv 2407.21075 section 5): every group of weights gets the few values that
stand for it with the least squared error. The report says k-means and no more; most libraries run Lloyd's
iteration from a random start. Here the optimum is found by dynamic programming, so there is no seed and
nothing to restart: `partition` holds the program, says where it is exact (up to `num_cells` distinct values
a group) and bounds how near it comes elsewhere.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from codling.compress.partition import PrefixSums, default_num_cells, optimal_cuts
from codling.errors import UserError

MAX_ENTRIES = 256  # an index is one byte before it is packed

# Groups are taken in blocks: enough to share NumPy's cost per call, few enough for the processor's cache.
_MAX_BLOCK_GROUPS = 16
_MAX_BLOCK_VALUES = 1 << 20


class Palette(NamedTuple):
    """The values that stand for one group, ascending, and which of them stands for each weight."""

    centroids: Float[np.ndarray, "P"]
    assignments: UInt8[np.ndarray, "G"]


class Palettes(NamedTuple):
    """One palette per group: tables ascending within a group, indices into the group's own table."""

    tables: Float[np.ndarray, "groups P"]
    indices: UInt8[np.ndarray, "groups G"]


def kmeans_1d(
    values: Float[np.ndarray, "G"],
    num_entries: int,
    weights: Float[np.ndarray, "G"] | None = None,
    *,
    num_cells: int | None = None,
    name: str = "values",
) -> Palette:
    """Cluster one group: see `kmeans_1d_grouped`."""
    grouped_weights = None if weights is None else weights[None]
    tables, indices = kmeans_1d_grouped(values[None], num_entries, grouped_weights, num_cells=num_cells, name=name)
    return Palette(tables[0], indices[0])


def kmeans_1d_grouped(
    values: Float[np.ndarray, "groups G"],
    num_entries: int,
    weights: Float[np.ndarray, "groups G"] | None = None,
    *,
    num_cells: int | None = None,
    name: str = "values",
) -> Palettes:
    """Find the num_entries values of each group that minimize sum(weight * (value - nearest entry)^2).

    Shapes: tables are P = num_entries float32 per group. A group with fewer distinct values repeats entries.
    Units:  entries in the values' own unit; weights in any unit, only their ratios within a group count.
    Errors: `UserError` naming `name`: nothing to cluster, NaN or infinite values (with their count),
            weights that are negative, not finite or all zero in a group, num_entries that no byte can index.
    Price:  num_cells (default: `default_num_cells`) trades time for the last fraction of a percent: the
            number of values makes any group exact, at its square in time and memory. See `partition` for
            both.
    """
    values = np.ascontiguousarray(values, dtype=np.float32)
    _check(values, num_entries, weights, name)
    num_groups, group_size = values.shape
    tables = np.empty((num_groups, num_entries), dtype=np.float32)
    num_cells = default_num_cells(num_entries) if num_cells is None else num_cells
    block_groups = max(1, min(_MAX_BLOCK_GROUPS, _MAX_BLOCK_VALUES // group_size))
    for start in range(0, num_groups, block_groups):
        block = slice(start, start + block_groups)
        block_weights = None if weights is None else weights[block]
        tables[block] = _cluster(values[block], block_weights, num_entries, num_cells)
    return Palettes(tables, nearest_entries(values, tables))


def nearest_entries(
    values: Float[np.ndarray, "groups G"], tables: Float[np.ndarray, "groups P"]
) -> UInt8[np.ndarray, "groups G"]:
    """Index of the entry of its group's ascending table that lies nearest to each value."""
    lower, upper = tables[:, :-1].astype(np.float64), tables[:, 1:]
    # A midpoint rounded up to the entry above would send that very value down.
    midpoints = np.minimum(((lower + upper) / 2).astype(np.float32), np.nextafter(upper, np.float32(-np.inf)))
    indices = np.zeros(values.shape, dtype=np.uint8)
    for group, group_midpoints in enumerate(midpoints):  # a row at a time stays in cache
        for midpoint in group_midpoints:
            indices[group] += values[group] > midpoint
    return indices


def _cluster(
    values: Float[np.ndarray, "groups G"],
    weights: Float[np.ndarray, "groups G"] | None,
    num_entries: int,
    num_cells: int,
) -> Float[np.ndarray, "groups P"]:
    group_size = values.shape[1]
    if weights is None:
        ordered = np.sort(values, axis=1).astype(np.float64)
        shares = np.full(values.shape, 1 / group_size)
    else:
        order = np.argsort(values, axis=1, kind="stable")
        ordered = np.take_along_axis(values, order, axis=1).astype(np.float64)
        shares = np.take_along_axis(weights, order, axis=1).astype(np.float64)
        shares /= shares.sum(axis=1, keepdims=True)
    center = (shares * ordered).sum(axis=1, keepdims=True)
    sums = PrefixSums(_prefix_sum(shares), _prefix_sum(shares * (ordered - center)))
    cuts = optimal_cuts(ordered, sums, num_entries, num_cells)
    weight = np.diff(np.take_along_axis(sums.weight, cuts, axis=1), axis=1)
    moment = np.diff(np.take_along_axis(sums.moment, cuts, axis=1), axis=1)
    means = center + np.divide(moment, weight, out=np.zeros_like(moment), where=weight > 0)
    # Into the cluster's own range: undoes the rounding of the sums, and gives an empty or weightless
    # cluster a value from its place in the order.
    first = np.minimum(cuts[:, :-1], group_size - 1)
    last = np.maximum(cuts[:, 1:] - 1, first)
    lowest, highest = np.take_along_axis(ordered, first, axis=1), np.take_along_axis(ordered, last, axis=1)
    centroids: np.ndarray = np.clip(means, lowest, highest)
    return centroids


def _prefix_sum(terms: Float[np.ndarray, "groups G"]) -> Float[np.ndarray, "groups G+1"]:
    sums = np.zeros((terms.shape[0], terms.shape[1] + 1))
    np.cumsum(terms, axis=1, out=sums[:, 1:])
    return sums


def require_finite(values: Float[np.ndarray, "..."], name: str) -> None:
    """Raise a `UserError` that names the tensor and counts its NaN and infinite values, if there are any."""
    num_bad = values.size - int(np.isfinite(values).sum())
    if num_bad:
        raise UserError(f"{name}: {num_bad} of {values.size} values are NaN or infinite; mend it before compressing")


def _check(values: np.ndarray, num_entries: int, weights: np.ndarray | None, name: str) -> None:
    if not 1 <= num_entries <= MAX_ENTRIES:
        raise UserError(f"{name}: a table has 1 to {MAX_ENTRIES} entries, {num_entries} were asked for")
    if values.size == 0:
        raise UserError(f"{name}: there are no values to cluster, its shape is {values.shape}")
    require_finite(values, name)
    if weights is None:
        return
    assert weights.shape == values.shape, (weights.shape, values.shape)
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any(axis=1).all()):
        raise UserError(f"{name}: importance must be finite, not negative, and above zero somewhere in each group")
