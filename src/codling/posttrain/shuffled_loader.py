"""Batches of pairs, or of anything else that is at hand as a whole, for the training loop; resumed exactly."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

T = TypeVar("T")
Item = TypeVar("Item")


class ShuffledLoader(Generic[Item, T]):
    """An endless iterator of batches: every item once, in a new order each time through.

    The state is the number of the next batch and nothing else: item i is a pure function of i and the seed.
    """

    def __init__(
        self, items: Sequence[Item], batch_size: int, seed: int, build_batch: Callable[[Sequence[Item]], T]
    ) -> None:
        self._items, self._batch_size, self._seed, self._build_batch = items, batch_size, seed, build_batch
        self._next_batch = 0

    def __iter__(self) -> "ShuffledLoader[Item, T]":
        return self

    def __next__(self) -> T:
        first = self._next_batch * self._batch_size
        self._next_batch += 1
        return self._build_batch([self._item(first + place) for place in range(self._batch_size)])

    def get_state(self) -> dict[str, Any]:
        """Where the iterator stands, as JSON values."""
        return {"next_batch": self._next_batch}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go to where `get_state` was called."""
        self._next_batch = state["next_batch"]

    def _item(self, number: int) -> Item:
        time_through, place = divmod(number, len(self._items))
        order = np.random.default_rng([self._seed, time_through]).permutation(len(self._items))
        return self._items[int(order[place])]
