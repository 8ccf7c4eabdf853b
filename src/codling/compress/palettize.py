"""Palettize one weight matrix: 16 rows share a table of 16 or 4 values, and every weight is an index into it.

Where in the recipe: after SFT, before the recovery adapter (arXiv 2407.21075 section 5: 4-bit tables, less
important layers 2 bits). The matrix is (out_dim, in_dim): a row makes one output.

Differs: the tables are int8 with one float32 scale each (the report has 16-bit values), so that an engine
can look them up and multiply them as they are. Weights are assigned to the *rounded* entries, so that
nothing is lost twice, and the scale is the one of a few that rounds the table best, which keeps the loss of
int8 small beside that of 4 bits.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float16, Float32, Int8, Real, UInt8

from codling.compress.kmeans import kmeans_1d_grouped, nearest_entries, require_finite
from codling.compress.pack_bits import ROWS_PER_BLOCK, WIDTHS_BITS, pack_indices, packed_shape, unpack_indices
from codling.errors import UserError

# The largest entry of a table becomes one of these whole numbers. -128 is never written: kernels may negate.
_FULL_SCALES = np.arange(127, 63, -1)


class BitsPerWeight(NamedTuple):
    """Stored bits, padding included, over the weights that are really there."""

    indices: float
    tables: float
    scales: float
    """Of tables and of rows."""

    @property
    def total(self) -> float:
        """All that is stored."""
        return self.indices + self.tables + self.scales


class PalettizedMatrix(NamedTuple):
    """One palettized matrix as it lies in a file; `native/FORMAT.md` specifies the bytes."""

    indices: UInt8[np.ndarray, "blocks bytes"]
    """Packed indices, one row of bytes for each 16 rows of the matrix."""
    tables: Int8[np.ndarray, "groups P"]
    """P = 2^bits entries for each rows_per_table rows, ascending."""
    scales: Float32[np.ndarray, "groups"]
    """An entry stands for the weight scale * entry."""
    shape: tuple[int, int]
    """(out_dim, in_dim) of the matrix without padding."""
    bits: int
    """Width of an index: 2 or 4."""
    rows_per_table: int
    """Rows that share one table: a multiple of 16."""
    row_scales: Float16[np.ndarray, " O"] | None = None
    """What a row's entries are multiplied by; none: nothing."""

    def dequantize(self) -> Float32[np.ndarray, "O I"]:
        """The matrix that the bytes stand for."""
        values = self.tables.astype(np.float32) * self.scales[:, None]
        indices = unpack_indices(self.indices, self.shape, self.bits)
        weight = np.empty(self.shape, dtype=np.float32)
        for group, table in enumerate(values):
            rows = slice(group * self.rows_per_table, (group + 1) * self.rows_per_table)
            weight[rows] = table[indices[rows]]
        if self.row_scales is not None:
            weight *= self.row_scales.astype(np.float32)[:, None]
        return weight

    def bits_per_weight(self) -> BitsPerWeight:
        """Count what is stored, part by part."""
        num_weights = self.shape[0] * self.shape[1]
        of_rows = 0 if self.row_scales is None else self.row_scales.nbytes
        parts_bytes = (self.indices.nbytes, self.tables.nbytes, self.scales.nbytes + of_rows)
        return BitsPerWeight(*(8 * part_bytes / num_weights for part_bytes in parts_bytes))


def palettize(
    weight: Float[np.ndarray, "O I"], bits: int = 4, rows_per_table: int = 16, *, name: str = "weight"
) -> PalettizedMatrix:
    """Palettize a matrix.

    Shapes: any out_dim and in_dim. The last table may serve fewer rows; only the packed bytes are padded.
    Errors: `UserError` naming `name`: NaN or infinite weights, an empty matrix, bits or rows_per_table that
            no kernel reads.
    Price:  a few milliseconds a table (see `partition`). Not differentiable: train the recovery adapter.
    """
    if bits not in WIDTHS_BITS:
        raise UserError(f"{name}: indices of {bits} bits are not supported; choose one of {WIDTHS_BITS}")
    if rows_per_table < 1 or rows_per_table % ROWS_PER_BLOCK:
        raise UserError(f"{name}: rows_per_table is {rows_per_table}; choose a multiple of {ROWS_PER_BLOCK}")
    if weight.size == 0:
        raise UserError(f"{name}: there are no weights to palettize, its shape is {weight.shape}")
    weight = np.ascontiguousarray(weight, dtype=np.float32)
    require_finite(weight, name)
    out_dim, in_dim = weight.shape
    # A batch of groups is a rectangle, so a last group of fewer rows goes alone.
    whole = out_dim // rows_per_table * rows_per_table
    parts = []
    if whole:
        parts.append(_palettize_groups(weight[:whole].reshape(-1, rows_per_table * in_dim), 1 << bits, name))
    if whole < out_dim:
        parts.append(_palettize_groups(weight[whole:].reshape(1, -1), 1 << bits, name))
    tables, scales, indices = (np.concatenate(column) for column in zip(*parts, strict=True))
    packed = pack_checked(indices.reshape(out_dim, in_dim), bits, name)
    return PalettizedMatrix(packed, tables, scales, (out_dim, in_dim), bits, rows_per_table)


def stored_bits(shape: tuple[int, int], bits: int, rows_per_table: int, *, with_row_scales: bool) -> float:
    """What a file has for a palettized matrix: indices with their padding, tables and scales."""
    num_blocks, block_bytes = packed_shape(shape, bits)
    tables_bytes = -(-shape[0] // rows_per_table) * ((1 << bits) + np.dtype(np.float32).itemsize)
    rows_bytes = shape[0] * np.dtype(np.float16).itemsize if with_row_scales else 0
    return 8.0 * (num_blocks * block_bytes + tables_bytes + rows_bytes)


def _palettize_groups(
    groups: Float32[np.ndarray, "groups G"], num_entries: int, name: str
) -> tuple[Int8[np.ndarray, "groups P"], Float32[np.ndarray, "groups"], UInt8[np.ndarray, "weights"]]:
    centroids, indices = kmeans_1d_grouped(groups, num_entries, name=name)
    counts = np.stack([(indices == entry).sum(axis=1) for entry in range(num_entries)], axis=1)
    tables, scales = round_tables(centroids, counts)
    indices = nearest_entries(groups, tables.astype(np.float32) * scales[:, None])
    return tables, scales, indices.reshape(-1)


def round_tables(
    centroids: Float32[np.ndarray, "groups P"], mass: Real[np.ndarray, "groups P"]
) -> tuple[Int8[np.ndarray, "groups P"], Float32[np.ndarray, "groups"]]:
    """Round tables to int8 with one scale each.

    Of the scales that make the largest entry a whole number from 127 down to 64, a table gets the one whose
    rounding adds the least squared error; an entry counts as much as what it stands for, mass[p].
    """
    # A table of zeros gets a scale too: no reader need guard against a scale of zero.
    largest = np.maximum(np.abs(centroids).max(axis=1), np.finfo(np.float32).tiny * _FULL_SCALES.max())
    scales = (largest[:, None] / _FULL_SCALES).astype(np.float32)
    entries = centroids[:, None, :].astype(np.float64)
    steps = np.rint(entries / scales[:, :, None])
    losses = ((entries - steps * scales[:, :, None]) ** 2 * mass[:, None, :]).sum(axis=2)
    best = losses.argmin(axis=1)
    groups = np.arange(len(centroids))
    return steps[groups, best].astype(np.int8), scales[groups, best]


def pack_checked(indices: UInt8[np.ndarray, "O I"], bits: int, name: str) -> UInt8[np.ndarray, "blocks bytes"]:
    """Pack indices and read them back. Errors: `RuntimeError` where they differ."""
    packed = pack_indices(indices, bits)
    shape = (indices.shape[0], indices.shape[1])
    if not np.array_equal(unpack_indices(packed, shape, bits), indices):
        raise RuntimeError(
            f"{name}: the packed indices do not read back; this is a defect of codling, please report it"
        )
    return packed
