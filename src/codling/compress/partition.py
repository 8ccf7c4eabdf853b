"""Cut sorted values into clusters of least squared error: the dynamic program under `kmeans`.

In one dimension every optimal cluster is an interval of the sorted values, so clustering is choosing cuts.
With the prefix sums of weight and of weight * value, an interval lowers the squared error by moment^2 /
weight, and the best cuts are the path of greatest total gain, found by dynamic programming over candidate
positions.

1. Cells. A group with at most `num_cells` distinct values has every one of them as a candidate: the exact
   optimum. A longer group is first cut at cell edges. Cells take equal steps of a measure of the line that is
   mostly the cube root of the density (which makes the variance inside cells smallest: a far value has a
   cell of its own), and to one part `EVEN_SHARE` the mean of the share of weight and the share of range.
   The latter bounds what cells can cost: moving every cut of the true optimum to its cell's left edge adds
   at most 2 (range / (EVEN_SHARE * num_cells))^2
   to the mean squared error.
2. Refinement. The same program over a window of true positions around each cut, all cuts moving together, the
   stride shrinking to one position. It never raises the error. Against the full program over all 3072
   values of 840 groups (normal, Laplace, uniform, bimodal, Student t, Cauchy; with and without weights; 16
   clusters) 97 of 100 groups came out exact and none more than 0.3% above the optimum. Who needs the rest
   raises `num_cells`.

Tried and dropped: Lloyd's iteration from the cells' optimum (stops early, up to 1% above the optimum on heavy
tails); cells of equal count or width (heavy tails up to 20% above, even refined); divide and conquer over
monotone cuts (fewer sums, but ragged: by its operation count slower in NumPy than dense rows of this many
cells).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

# Fewest cells, and fewest cells per cluster: the cost of a group grows with the square of their number.
MIN_CELLS = 384
MIN_CELLS_PER_CLUSTER = 8
# The part of the measure that follows weight and range evenly; the rest follows the cube root of the density.
EVEN_SHARE = 0.25
# Candidates on either side of a cut while refining, and how many cells away the first of them may lie. From
# round to round the stride shrinks by half of the reach, so that a window spans two strides of the round
# before.
WINDOW_REACH = 16
WINDOW_CELLS = 8


class PrefixSums(NamedTuple):
    """Sums over the first i sorted values of each group, i from 0 to the number of values."""

    weight: Float[np.ndarray, "*groups prefixes"]
    moment: Float[np.ndarray, "*groups prefixes"]


def default_num_cells(num_clusters: int) -> int:
    """Cells with which a group costs milliseconds."""
    return max(MIN_CELLS, MIN_CELLS_PER_CLUSTER * num_clusters)


def optimal_cuts(
    values: Float[np.ndarray, "groups G"], sums: PrefixSums, num_clusters: int, num_cells: int
) -> Int[np.ndarray, "groups cuts"]:
    """Find the cuts of each group: cluster p holds the values at positions cuts[p] to cuts[p + 1] - 1.

    Shapes: values ascend within each group, in float64; cuts are num_clusters + 1; clusters may be empty.
    Price:  per group num_clusters * num_cells^2 additions and num_cells^2 * 8 bytes.
    """
    starts = [
        _cuts_at_cells(row, PrefixSums(weight, moment), num_clusters, num_cells)
        for row, weight, moment in zip(values, sums.weight, sums.moment, strict=True)
    ]
    return _refine(sums, np.stack([cuts for cuts, _ in starts]), np.stack([reach for _, reach in starts]))


def _cuts_at_cells(
    values: Float[np.ndarray, "G"], sums: PrefixSums, num_clusters: int, num_cells: int
) -> tuple[Int[np.ndarray, "cuts"], Int[np.ndarray, "cuts"]]:
    """Best cuts of one group at cell edges, and how far from each to look for better ones: 0 if exact."""
    edges = _edges_of_runs(values)
    if len(edges) - 1 <= num_clusters:
        # Every distinct value is a cluster. The program would find this too, but for rounding.
        exact = np.pad(edges, (0, num_clusters + 1 - len(edges)), constant_values=len(values))
        return exact, np.zeros_like(exact)
    all_distinct = len(edges) - 1 <= num_cells
    if not all_distinct:
        edges = _edges_of_runs((_share_of_line(values, sums) * num_cells).astype(np.int64))
    weight, moment = sums.weight[edges], sums.moment[edges]
    gain = _gain(weight, moment, weight, moment)
    path = _best_path(np.broadcast_to(gain, (1, num_clusters, *gain.shape)))[0]
    cuts = edges[path]
    if all_distinct:
        return cuts, np.zeros_like(cuts)
    below = edges[np.maximum(path - WINDOW_CELLS, 0)]
    above = edges[np.minimum(path + WINDOW_CELLS, len(edges) - 1)]
    return cuts, np.maximum(cuts - below, above - cuts)


def _edges_of_runs(values: np.ndarray) -> Int[np.ndarray, "edges"]:
    """Positions where runs of equal values begin, and the end."""
    return np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1, [len(values)]])


def _share_of_line(values: Float[np.ndarray, "G"], sums: PrefixSums) -> Float[np.ndarray, "G"]:
    """How much of the line, measured as the module says, lies below each value: from 0 to 1."""
    weights, gaps = np.diff(sums.weight), np.diff(values)
    dense = np.concatenate([[0.0], np.cumsum(np.cbrt((weights[1:] + weights[:-1]) * gaps * gaps))])
    even = sums.weight[:-1] / sums.weight[-1] + (values - values[0]) / (values[-1] - values[0])
    # All-zero steps are possible only where weights are tiny; the even part still separates the values.
    share: np.ndarray = EVEN_SHARE * even / 2 + (1 - EVEN_SHARE) * dense / max(dense[-1], np.finfo(np.float64).tiny)
    return share


def _refine(
    sums: PrefixSums, cuts: Int[np.ndarray, "groups cuts"], reach: Int[np.ndarray, "groups cuts"]
) -> Int[np.ndarray, "groups cuts"]:
    """Move all cuts together, those with a reach, until none moves by single positions."""
    num_groups, num_values = len(cuts), sums.weight.shape[1] - 1
    offsets = np.arange(-WINDOW_REACH, WINDOW_REACH + 1)
    stride = -(-reach // WINDOW_REACH)
    while True:
        window = np.clip(cuts[:, :, None] + stride[:, :, None] * offsets, 0, num_values)
        window[:, 0], window[:, -1] = 0, num_values
        flat = window.reshape(num_groups, -1)
        weight = np.take_along_axis(sums.weight, flat, axis=1).reshape(window.shape)
        moment = np.take_along_axis(sums.moment, flat, axis=1).reshape(window.shape)
        path = _best_path(_gain(weight[:, :-1], moment[:, :-1], weight[:, 1:], moment[:, 1:]))
        # Cuts may cross only over values of no weight, at no gain: put them in order again.
        moved = np.maximum.accumulate(np.take_along_axis(window, path[:, :, None], axis=2)[:, :, 0], axis=1)
        if np.array_equal(moved, cuts) and stride.max() <= 1:
            return cuts
        at_rim = np.abs(moved - cuts) == WINDOW_REACH * stride
        stride = np.where(at_rim, stride, np.maximum(np.minimum(stride, 1), stride // (WINDOW_REACH // 2)))
        cuts = moved


def _gain(
    weight_from: Float[np.ndarray, "*batch a"],
    moment_from: Float[np.ndarray, "*batch a"],
    weight_to: Float[np.ndarray, "*batch b"],
    moment_to: Float[np.ndarray, "*batch b"],
) -> Float[np.ndarray, "*batch b a"]:
    """Gain of the cluster between each two candidates: -inf where it runs backward."""
    weight: np.ndarray = weight_to[..., :, None] - weight_from[..., None, :]
    gain: np.ndarray = moment_to[..., :, None] - moment_from[..., None, :]
    gain *= gain
    np.divide(gain, weight, out=gain, where=weight > 0)
    gain[weight < 0] = -np.inf
    return gain


def _best_path(gain: Float[np.ndarray, "groups P W W"]) -> Int[np.ndarray, "groups cuts"]:
    """Candidate of each cut on the path of greatest gain from the very first to the very last."""
    num_groups, num_clusters, num_candidates, _ = gain.shape
    best = gain[:, 0, :, 0]
    came_from = []
    for cluster in range(1, num_clusters):
        total = gain[:, cluster] + best[:, None, :]
        came_from.append(total.argmax(axis=2))
        best = np.take_along_axis(total, came_from[-1][:, :, None], axis=2)[:, :, 0]
    path = [np.full(num_groups, num_candidates - 1)]
    for previous in reversed(came_from):
        path.append(np.take_along_axis(previous, path[-1][:, None], axis=1)[:, 0])
    path.append(np.zeros(num_groups, dtype=np.int64))
    return np.stack(path[::-1], axis=1)
