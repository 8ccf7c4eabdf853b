"""Which matrix gets how many bits: least total loss at an average that is asked for, as an integer program.

Where in the recipe: before palettization (arXiv 2407.21075 section 5.1: 2 bits for layers that matter less, 3.7 on
average). One choice a matrix, `minimize sum of losses` subject to `stored bits <= average * weights`; solved to
optimality by SciPy's `milp` (HiGHS).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.sparse

from codling.errors import UserError

MAX_SECONDS = 60.0
RELATIVE_GAP = 1e-4
"""Of the optimum; what a matrix' loss itself is known to is far less."""


class Choice(NamedTuple):
    """One width for one matrix."""

    stored_bits: float
    """All that the file has for it, tables and padding included."""
    loss: float
    """In any unit that adds up over matrices."""


class Allocation(NamedTuple):
    """The chosen width of every matrix."""

    width_bits: dict[str, int]
    bits_per_weight: float
    """Over all matrices, as stored."""
    loss: float


def check_target(
    num_weights: Mapping[str, int], stored_bits: Mapping[str, Sequence[float]], target_bits_per_weight: float
) -> None:
    """Raise a `UserError` for an average that no choice of stored bits meets, with the range that can be met."""
    total = sum(num_weights[name] for name in stored_bits)
    least, most = (sum(map(pick, stored_bits.values())) / total for pick in (min, max))
    if not least <= target_bits_per_weight:
        raise UserError(
            f"{target_bits_per_weight:g} bits a weight cannot be met: with tables and scales this model takes from "
            f"{least:.2f} to {most:.2f}"
        )


def allocate_bits(
    num_weights: Mapping[str, int], choices: Mapping[str, Mapping[int, Choice]], target_bits_per_weight: float
) -> Allocation:
    """Choose a width for every matrix.

    Shapes: `choices[name][width]`; all names have at least one.
    Errors: `UserError` as for `check_target`.
    """
    names = sorted(choices)
    total = sum(num_weights[name] for name in names)
    stored = {name: [one.stored_bits for one in choices[name].values()] for name in names}
    check_target(num_weights, stored, target_bits_per_weight)
    columns = [(name, width) for name in names for width in sorted(choices[name])]
    found = [choices[name][width] for name, width in columns]
    # Scaled to the size of one, as solvers' tolerances are absolute.
    losses = np.asarray([one.loss for one in found], np.float64)
    bits = np.asarray([one.stored_bits for one in found], np.float64) / total
    owner = scipy.sparse.csr_matrix(
        ([1.0] * len(columns), ([names.index(name) for name, _ in columns], range(len(columns))))
    )
    solved = scipy.optimize.milp(
        losses / max(float(np.abs(losses).max()), np.finfo(np.float64).tiny),
        integrality=np.ones(len(columns)),
        bounds=scipy.optimize.Bounds(0, 1),
        constraints=[
            scipy.optimize.LinearConstraint(owner, 1, 1),
            scipy.optimize.LinearConstraint(bits[None], -np.inf, target_bits_per_weight),
        ],
        options={"time_limit": MAX_SECONDS, "mip_rel_gap": RELATIVE_GAP},
    )
    if solved.x is None:
        raise RuntimeError(f"the integer program of the bit widths was not solved: {solved.message}")
    chosen = [place for place, value in enumerate(solved.x) if value > 0.5]
    return Allocation(dict(columns[place] for place in chosen), float(bits[chosen].sum()), float(losses[chosen].sum()))
