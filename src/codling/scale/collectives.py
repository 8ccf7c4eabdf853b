"""Exchanges between chips: what kind, how large, between whom, how often in one training step.

Bytes are those that one chip sends. A ring of n chips passes (n - 1) / n of a gathered or scattered array through every
chip, twice that where an array is reduced and given back to all.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What the chips of a group do with their parts of an array."""

    ALL_GATHER = "all-gather"
    ALL_REDUCE = "all-reduce"
    REDUCE_SCATTER = "reduce-scatter"
    ALL_TO_ALL = "all-to-all"
    PERMUTE = "collective-permute"


class Collective(NamedTuple):
    """One exchange of a compiled program."""

    kind: Kind
    size_bytes: int
    """The whole array: as gathered, or as it is before it is reduced; of an exchange, what one chip holds."""
    group: tuple[int, ...]
    """Chips of one group that are in the same slice, as places in the mesh."""
    num_slices: int = 1
    """Slices that a group spans."""
    times: int = 1
    """In one training step."""
    source: str = ""
    """Where in the program, as far as the compiler knows."""

    @property
    def fast_bytes(self) -> float:
        """Sent by a chip over the links within its slice, in one step."""
        size = self.size_bytes / self.num_slices if self.kind is Kind.ALL_TO_ALL else self.size_bytes
        return self.times * size * _share(self.kind, len(self.group))

    @property
    def slow_bytes(self) -> float:
        """Sent by a chip over the data-center network: each chip of a slice carries its part across."""
        size = self.size_bytes if self.kind in (Kind.ALL_TO_ALL, Kind.PERMUTE) else self.size_bytes / len(self.group)
        return self.times * size * _share(self.kind, self.num_slices)


class Traffic(NamedTuple):
    """All exchanges of one kind."""

    times: int
    fast_bytes: float
    slow_bytes: float


def by_kind(collectives: Sequence[Collective]) -> dict[Kind, Traffic]:
    """Sums by kind, in a fixed order; kinds that do not occur are left out."""
    result = {}
    for kind in Kind:
        own = [one for one in collectives if one.kind is kind]
        if own:
            sums = (sum(one.fast_bytes for one in own), sum(one.slow_bytes for one in own))
            result[kind] = Traffic(sum(one.times for one in own), *sums)
    return result


def _share(kind: Kind, num_parts: int) -> float:
    """Of an array, the part that passes through every member of a ring."""
    if num_parts == 1:
        return 0.0
    if kind is Kind.PERMUTE:
        return 1.0
    return (2.0 if kind is Kind.ALL_REDUCE else 1.0) * (num_parts - 1) / num_parts
