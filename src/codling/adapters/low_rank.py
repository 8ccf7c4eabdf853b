"""The low-rank matrix that stands best for another one, by what an error of each output and input costs.

Where in the recipe: the start of a recovery adapter, which is to make up for what palettization lost. With E the lost
part of a weight matrix, H = E[x x^T] the second moments of the layer's input and g the importance of its outputs,

    minimize sum over outputs o of g_o E[((E - B A) x)_o^2]    =    || diag(g)^(1/2) (E - B A) H^(1/2) ||_F^2

over matrices A of `rank` rows: the truncated singular value decomposition of diag(g)^(1/2) E H^(1/2) (Eckart-Young),
taken back. Source: with plain E, LoftQ (arXiv 2310.08659); with inputs, QERA (arXiv 2410.06040). Ours: the outputs'.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float

DAMPING = 0.01
"""Of the mean input power, and of the mean importance: what a text hardly moves is not free."""


class Factors(NamedTuple):
    """B A stands for a matrix. Row r of A and column r of B have the same norm, so that one rate suits both."""

    down: Float[np.ndarray, "R I"]
    """A"""
    up: Float[np.ndarray, "O R"]
    """B"""


def nearest_low_rank(
    matrix: Float[np.ndarray, "O I"],
    rank: int,
    moments: Float[np.ndarray, "I I"] | None = None,
    importance: Float[np.ndarray, " O"] | None = None,
) -> Factors:
    """The factors of the nearest matrix of this rank; without moments or importance all inputs or outputs are alike.

    Price: a singular value decomposition, some 10 * O * I * min(O, I) multiply-adds, in double precision.
    """
    outputs = np.ones(len(matrix)) if importance is None else np.asarray(importance, np.float64)
    roots = np.sqrt(outputs + (DAMPING * outputs.mean() or 1.0))
    weighted = roots[:, None] * matrix.astype(np.float64)
    if moments is None:
        left, singular, right = scipy.linalg.svd(weighted, full_matrices=False, check_finite=False)
        right = right[:rank]
    else:
        damped = moments.astype(np.float64)
        damped[np.diag_indices_from(damped)] += DAMPING * float(np.trace(damped)) / len(damped) or 1.0
        # Any root of H will do: with H = C C^T the norm is that of (...) C.
        root = scipy.linalg.cholesky(damped, lower=True, check_finite=False)
        left, singular, right = scipy.linalg.svd(weighted @ root, full_matrices=False, check_finite=False)
        right = scipy.linalg.solve_triangular(root, right[:rank].T, lower=True, trans="T", check_finite=False).T
    up = left[:, :rank] * singular[:rank] / roots[:, None]
    lengths, sizes = np.linalg.norm(right, axis=1), np.linalg.norm(up, axis=0)
    balance = np.sqrt(np.divide(sizes, lengths, out=np.zeros_like(sizes), where=sizes * lengths > 0))
    down = right * balance[:, None]
    up = np.divide(up, balance, out=np.zeros_like(up), where=balance > 0)
    return Factors(down.astype(np.float32), up.astype(np.float32))
