"""Batches for the training loop: mixed rows, stacked ahead of time by Grain, resumed exactly.

Last step of the data path. The state is the number of the next batch and nothing else, because row i of a
mixture is a pure function of i: a few bytes in a checkpoint resume the very batches of an undisturbed run.
"""

from collections.abc import Iterator, Mapping, Sequence

import grain
import numpy as np

from codling.data.mixture import MixedRows, MixtureWeights
from codling.data.pack import PackedRows, Row

Batch = Row
"""Rows with a leading axis: every array is [B, T]."""


class BatchLoader:
    """An endless iterator of batches whose state can be kept and set. Close it, or use it in a `with`."""

    def __init__(self, rows: MixedRows, batch_size_rows: int, part: slice, start_step: int) -> None:
        part_of_batches = _PartOfBatches(rows, batch_size_rows, part)
        # One thread: the work is numpy copies, and the cores belong to the training step.
        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)
        batches = grain.MapDataset.source(part_of_batches).batch(part.stop - part.start, batch_fn=stack_rows)
        self._iterator = iter(batches.to_iter_dataset(options))
        self.set_state({"next_index": start_step})

    def __iter__(self) -> "BatchLoader":
        return self

    def __next__(self) -> Batch:
        batch: Batch = next(self._iterator)
        return batch

    def get_state(self) -> dict[str, int]:
        """Where the iterator stands, as JSON values."""
        state: dict[str, int] = self._iterator.get_state()
        return state

    def set_state(self, state: Mapping[str, int]) -> None:
        """Go to where `get_state` was called: the next batch is the one that came next then."""
        self._iterator.set_state(dict(state))

    def close(self) -> None:
        """Stop the prefetch thread."""
        self._iterator.close()

    def __enter__(self) -> "BatchLoader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def build_loader(
    rows_by_kind: Mapping[str, PackedRows],
    weights: MixtureWeights,
    *,
    batch_size_rows: int,
    part: slice | None = None,
    start_step: int = 0,
) -> BatchLoader:
    """The batches of a stage, from step `start_step` on; the order is set by the seeds of the rows.

    `part`: the rows of each batch that are read, where several processes share a batch; none: all.
    """
    part = slice(0, batch_size_rows) if part is None else part
    return BatchLoader(MixedRows(rows_by_kind, weights), batch_size_rows, part, start_step)


class _PartOfBatches:
    """Of a sequence of rows those that fall into a part of each batch, as a sequence of their own."""

    def __init__(self, rows: MixedRows, batch_size_rows: int, part: slice) -> None:
        self._rows, self._batch_size_rows, self._part = rows, batch_size_rows, part
        self._num_rows: int = part.stop - part.start

    def __len__(self) -> int:
        return len(self._rows) // self._batch_size_rows * self._num_rows

    def __getitem__(self, index: int) -> Row:
        batch, place = divmod(index, self._num_rows)
        return self._rows[batch * self._batch_size_rows + self._part.start + place]


def iterate_once(rows: PackedRows, batch_size_rows: int) -> Iterator[Batch]:
    """One epoch for an evaluation: every position once; the last batch is filled up with rows of weight 0."""
    empty = Row(*(np.zeros_like(array) for array in rows[0]))
    for begin in range(0, rows.rows_per_epoch, batch_size_rows):
        end = min(begin + batch_size_rows, rows.rows_per_epoch)
        batch = [rows[index] for index in range(begin, end)]
        yield stack_rows(batch + [empty] * (batch_size_rows - len(batch)))


def stack_rows(rows: Sequence[Row]) -> Batch:
    """Put rows below each other."""
    return Batch(*(np.stack(arrays) for arrays in zip(*rows, strict=True)))
