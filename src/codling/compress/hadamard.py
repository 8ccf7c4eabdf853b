"""Rotation by Hadamard matrices: outliers are spread over all channels, and lengths stay as they are.

Sylvester's matrix exists for powers of two. Another width is cut into blocks of the largest power of two that divides
it, each of which is rotated by itself.
"""

import numpy as np
import scipy.linalg
from jaxtyping import Float


def num_turned_together(width: int) -> int:
    """Channels that a rotation of this width mixes with each other."""
    return width & -width


def turned(values: Float[np.ndarray, "..."], axis: int) -> Float[np.ndarray, "..."]:
    """R v for each vector along an axis; R is symmetric and orthogonal, so that twice is nothing.

    Price: one multiply-add a value and channel of its block.
    """
    size = num_turned_together(values.shape[axis])
    rotation = (scipy.linalg.hadamard(size) / np.sqrt(size)).astype(values.dtype)
    last = np.moveaxis(values, axis, -1)
    rotated: np.ndarray = (last.reshape(-1, size) @ rotation).reshape(last.shape)
    return np.ascontiguousarray(np.moveaxis(rotated, -1, axis))
