"""One scale per row of a palettized matrix: rows of different size can share a table.

Where in the recipe: palettization (arXiv 2407.21075 section 5.1 has no such scales; ours). A row is divided by its
scale before tables are fitted to its group, and what the table gives is multiplied by it. Scales are kept in 16 bits,
and all that comes after them is computed with the rounded ones.
"""

import numpy as np
from jaxtyping import Float, Float16

SMALLEST, LARGEST = float(np.finfo(np.float16).tiny), float(np.finfo(np.float16).max)
"""Of the scales that are written: below the smallest normal number 16 bits lose their precision."""


def first_row_scales(
    columns: Float[np.ndarray, "I O"], power: Float[np.ndarray, " I"], rows_per_table: int
) -> Float16[np.ndarray, " O"]:
    """The size of each row, relative to the mean of the rows that share its table; 1 for a row of zeros.

    Units: the size is the root of the row's output power, were inputs of these powers not correlated.
    """
    sizes = np.sqrt(power.astype(np.float64) @ np.square(columns, dtype=np.float64))
    num_tables = -(-len(sizes) // rows_per_table)
    grouped = np.pad(sizes, (0, num_tables * rows_per_table - len(sizes))).reshape(num_tables, rows_per_table)
    means = grouped.sum(axis=1) / np.maximum((grouped > 0).sum(axis=1), 1)
    means_of_rows = np.repeat(means, rows_per_table)[: len(sizes)]
    return _rounded(np.divide(sizes, means_of_rows, out=np.ones_like(sizes), where=sizes > 0))


def refitted_row_scales(
    columns: Float[np.ndarray, "I O"],
    entries: Float[np.ndarray, "I O"],
    row_scales: Float16[np.ndarray, " O"],
    moments: Float[np.ndarray, "I I"],
) -> Float16[np.ndarray, " O"]:
    """The scale s of each row with the least (w - s q) H (w - s q)^T, q being its table entries: w H q / q H q.

    Shapes: rows of the matrix are columns here, as in `error_feedback`.
    A row keeps the scale that it has where the new one, rounded, is not positive or not better.
    Price: O * I^2 multiply-adds.
    """
    powered = moments @ entries
    cross = np.einsum("io,io->o", columns, powered, dtype=np.float64)
    square = np.einsum("io,io->o", entries, powered, dtype=np.float64)
    found = _rounded(np.divide(cross, square, out=np.ones_like(cross), where=(cross > 0) & (square > 0)))

    def change(scales: Float16[np.ndarray, " O"]) -> Float[np.ndarray, " O"]:
        # What is left out does not depend on the scale.
        wide = scales.astype(np.float64)
        of_scale: np.ndarray = wide * (wide * square - 2 * cross)
        return of_scale

    return np.where((cross > 0) & (change(found) < change(row_scales)), found, row_scales)


def _rounded(scales: Float[np.ndarray, " O"]) -> Float16[np.ndarray, " O"]:
    rounded: np.ndarray = np.clip(scales, SMALLEST, LARGEST).astype(np.float16)
    return rounded
