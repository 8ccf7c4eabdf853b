"""Independent pieces of NumPy work, one core each."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from threadpoolctl import threadpool_limits

Piece = TypeVar("Piece")
Outcome = TypeVar("Outcome")

_thread = threading.local()


def on_all_cores(work: Callable[[Piece], Outcome], pieces: Sequence[Piece]) -> list[Outcome]:
    """What each piece gives, in order; the same, whatever the number of cores.

    For pieces of which half is not matrix products: those alone use all cores without help, and use one each here. A
    piece that calls this runs its own pieces one after the other.
    """
    if len(pieces) == 1 or getattr(_thread, "is_ours", False):
        return [work(piece) for piece in pieces]
    with threadpool_limits(1):
        return list(_threads().map(work, pieces))


@cache
def _threads() -> ThreadPoolExecutor:
    """For good: memory that a thread freed is kept for it, and lost when it ends."""
    return ThreadPoolExecutor(os.cpu_count(), initializer=lambda: setattr(_thread, "is_ours", True))
