"""Independent pieces of NumPy work, one core each."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

Piece = TypeVar("Piece")
Outcome = TypeVar("Outcome")


def on_all_cores(work: Callable[[Piece], Outcome], pieces: Sequence[Piece]) -> list[Outcome]:
    """What each piece gives, in order; the same, whatever the number of cores.

    For pieces of which half is not matrix products: those alone use all cores without help, and use one each here.
    """
    if len(pieces) == 1:
        return [work(pieces[0])]
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(work, pieces))
