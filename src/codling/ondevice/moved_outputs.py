"""How far a width moves the outputs of a matrix, from some of its tables: the cheap half of its price.

Where in the recipe: palettization, before widths are chosen (`compress_blocks`). Times what an error of each output
costs (`output_importance`) it is the estimated divergence of the model in which this matrix alone is compressed.
"""

import numpy as np
from jaxtyping import Float

from codling.compress.error_feedback import Feedback
from codling.compress.palettize_calibrated import palettize_calibrated

TRIED_TABLES = 32
"""Tables of a matrix by which a width is judged; all of a small one, and evenly spread ones of a large one."""


def moved_outputs(
    weight: Float[np.ndarray, "O I"],
    moments: Float[np.ndarray, "I I"],
    feedback: Feedback,
    width: int,
    rows_per_table: int,
    *,
    with_row_scales: bool,
) -> Float[np.ndarray, " O"]:
    """The mean square by which each output would move; outputs not tried get the tried ones' mean.

    With feedback, which takes from 7 to 70 times off the error, and not from each matrix alike; tables as they are
    before the first error travels.
    """
    num_tables = -(-weight.shape[0] // rows_per_table)
    tables = np.unique(np.linspace(0, num_tables - 1, min(num_tables, TRIED_TABLES)).astype(int))
    rows = (tables[:, None] * rows_per_table + np.arange(rows_per_table)).ravel()
    rows = rows[rows < weight.shape[0]]
    small = palettize_calibrated(
        weight[rows], feedback, width, rows_per_table, with_row_scales=with_row_scales, num_sweeps=1, num_descents=0
    )
    difference = weight[rows] - small.dequantize()
    moved = np.einsum("oi,oi->o", difference @ moments.astype(np.float32), difference)
    of_all = np.full(weight.shape[0], moved.mean())
    of_all[rows] = moved
    return of_all
