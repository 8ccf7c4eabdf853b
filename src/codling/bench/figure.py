"""What every measurement of the house says: a value, the peer's value in the same run, and whether that is enough."""

from typing import NamedTuple


class Figure(NamedTuple):
    """One measured figure; a greater ratio is better."""

    name: str
    value: float
    unit: str
    peer_value: float
    ratio: float
    """value / peer_value; where less is better, peer_value / value."""
    goal: float | None
    """The ratio to reach; None: shown for comparison only."""
    met: bool | None


def compare(name: str, value: float, unit: str, peer_value: float, goal: float | None = None) -> Figure:
    """Put a value next to the peer's."""
    ratio = value / peer_value
    return Figure(name, value, unit, peer_value, ratio, goal, None if goal is None else ratio >= goal)


def within(name: str, value: float, unit: str, peer_value: float, goal: float | None = 1.0) -> Figure:
    """Put a value that is to be small next to the peer's, or next to a limit."""
    ratio = peer_value / value
    return Figure(name, value, unit, peer_value, ratio, goal, None if goal is None else ratio >= goal)
