"""Kinds of text mixed by weight, row by row, without chance: every prefix keeps the weights to within a row.

The mixture is what distinguishes continued pre-training from the core stage (arXiv 2407.21075 §3.2: more
code, mathematics and licensed text, less bulk web). Rows have one length, so a share of rows is a share of
tokens, up to padding.

Tried and dropped: `grain.MapDataset.mix`, which truncates weights to integers (a bias that grows with the
rows) and nests its roundings, so that a prefix may be more than one row off.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Int64

from codling.config import config
from codling.data.pack import PackedRows, Row
from codling.errors import UserError

PERIOD_ROWS = 1_000
"""Weights are read to one row in so many; the order of kinds repeats after them."""


@config
class MixtureWeights:
    """How much of each kind a stage reads."""

    share_by_kind: dict[str, float]
    """Kind -> share of the rows, in any unit: divided by their sum. Ours (unknown in the paper)."""

    def __post_init__(self) -> None:
        if not self.share_by_kind:
            raise ValueError("share_by_kind is empty; name at least one kind")
        for kind, share in self.share_by_kind.items():
            if not (share > 0 and math.isfinite(share)):
                raise ValueError(f"the share of '{kind}' is {share}; make it positive or leave the kind out")
        for kind, num_rows in self._exact_rows().items():
            if num_rows < 1:
                raise ValueError(f"the share of '{kind}' is below 1/{PERIOD_ROWS}; raise it or leave the kind out")

    def check_kinds(self, known: Collection[str]) -> None:
        """Raise `UserError` where a weight names a kind that the corpus does not hold."""
        if unknown := sorted(set(self.share_by_kind) - set(known)):
            held = ", ".join(sorted(known))
            raise UserError(f"mixture names the unknown kind '{unknown[0]}'; the corpus holds {held}")

    def rows_per_period(self) -> dict[str, int]:
        """Rows of each kind in `PERIOD_ROWS`, rounded by largest remainder."""
        exact = self._exact_rows()
        rows = {kind: math.floor(num_rows) for kind, num_rows in exact.items()}
        by_remainder = sorted(exact, key=lambda kind: rows[kind] - exact[kind])
        for kind in by_remainder[: PERIOD_ROWS - sum(rows.values())]:
            rows[kind] += 1
        return rows

    def _exact_rows(self) -> dict[str, float]:
        total = sum(self.share_by_kind.values())
        return {kind: PERIOD_ROWS * share / total for kind, share in self.share_by_kind.items()}


class MixedRows:
    """A random-access sequence of rows of several kinds; row i is a pure function of i.

    Errors: `UserError` for a weight whose kind is not among the rows.
    """

    def __init__(self, rows_by_kind: Mapping[str, PackedRows], weights: MixtureWeights) -> None:
        weights.check_kinds(rows_by_kind)
        # By name, so that the order in which a recipe lists its kinds changes nothing.
        per_period = sorted(weights.rows_per_period().items())
        self._rows = [rows_by_kind[kind] for kind, _ in per_period]
        if len(lengths := {rows.row_length_tokens for rows in self._rows}) > 1:
            raise ValueError(f"rows of different lengths cannot be mixed: {sorted(lengths)}")
        self._per_period = [num_rows for _, num_rows in per_period]
        self._kind_at = interleave(self._per_period)
        # How many rows of its own kind come before each row of the period.
        self._rank_at = np.zeros_like(self._kind_at)
        for kind, num_rows in enumerate(self._per_period):
            self._rank_at[self._kind_at == kind] = np.arange(num_rows)

    def __len__(self) -> int:
        # Whole periods only: short of the end, every index finds its row.
        return min(len(rows) // num for rows, num in zip(self._rows, self._per_period, strict=True)) * PERIOD_ROWS

    def __getitem__(self, index: int) -> Row:
        period, place = divmod(index, PERIOD_ROWS)
        kind = int(self._kind_at[place])
        return self._rows[kind][period * self._per_period[kind] + int(self._rank_at[place])]


def interleave(counts: Sequence[int]) -> Int64[np.ndarray, " n"]:
    """Order `counts[i]` copies of each i so that each prefix holds its share of every i, less than one off.

    Source: Tijdeman 1980, "The chairman assignment problem": of the kinds that are due, the one whose
    deadline comes first. For K kinds the deviation is at most 1 - 1 / (2K - 2).
    """
    num_kinds, total = len(counts), sum(counts)
    slack = Fraction(1, max(1, 2 * num_kinds - 2))
    taken = [0] * num_kinds
    order = np.zeros(total, np.int64)
    for place in range(total):
        debts = [Fraction(count * (place + 1), total) - have for count, have in zip(counts, taken, strict=True)]
        deadlines = [(1 - slack - debt) / count for debt, count in zip(debts, counts, strict=True)]
        due = [kind for kind in range(num_kinds) if debts[kind] >= slack]
        order[place] = min(due, key=deadlines.__getitem__)
        taken[order[place]] += 1
    return order
