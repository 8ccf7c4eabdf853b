"""Documents packed into rows of one length: nothing lost, nothing learned across the border of a document.

Between tokenized documents and the mixture. A document of n tokens has n - 1 *positions*: an input token and
the target that follows it. A row holds `row_length_tokens` positions; where a document is cut at the end of a
row, the last target of that row is the first input of the next, so that every token but a document's first is
a target exactly once an epoch. Attention is confined by `segment_ids`; `positions` restart at 0 in each
segment.

Source: arXiv 2407.21075 does not describe its packing; borders that attention respects are ours.
Tried and dropped: an input for the last token of a document; nothing in the document follows it, so the
position is paid for and never trained.
"""

import bisect
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Int64

from codling.data.tokens import TokenizedDocuments
from codling.errors import UserError

ENDLESS_ROWS = 2**40
"""Length of an endless sequence: `len` needs a number, and mixing and batching must not overflow it."""


class Row(NamedTuple):
    """One row, or (with a leading axis B) a batch of rows. T = row_length_tokens."""

    tokens: Int32[np.ndarray, "*B T"]
    """Inputs; 0 in padding."""
    targets: Int32[np.ndarray, "*B T"]
    """The token after each input, in the same document; 0 in padding."""
    loss_weights: Float32[np.ndarray, "*B T"]
    """Above 0 where the target is to be learned, 0 in padding and outside the loss mask."""
    segment_ids: Int32[np.ndarray, "*B T"]
    """1, 2, ... for the documents of the row, 0 in padding."""
    positions: Int32[np.ndarray, "*B T"]
    """Distance from the begin of the segment, in tokens."""


class _Plan(NamedTuple):
    """The order of one epoch."""

    epoch: int
    order: Int64[np.ndarray, "d"]
    ends: Int64[np.ndarray, "d"]
    """Running number of positions, in split mode; the running number of documents of each row, otherwise."""


class PackedRows:
    """An endless random-access sequence of rows: row i is a pure function of i, the documents and the seed.

    `split_documents=True` (pre-training): all documents in an order drawn anew for each epoch, one after the
    other, cut at row ends; only the last row of an epoch has padding.
    `split_documents=False` (SFT): whole documents, packed by best fit; which documents share a row is fixed
    by the seed, the order of the rows is drawn anew for each epoch.

    Where documents have a loss mask, the targets within it weigh `masked_weight`.

    Errors: `UserError` where there is nothing to learn from, or a document does not fit that may not be cut.
    Price: O(documents) memory and one permutation an epoch; O(row length) a row.
    """

    def __init__(
        self,
        documents: TokenizedDocuments,
        *,
        row_length_tokens: int,
        seed: int,
        split_documents: bool,
        num_rows: int = ENDLESS_ROWS,
        masked_weight: float = 1.0,
    ) -> None:
        if row_length_tokens < 1:
            raise UserError(f"row_length_tokens is {row_length_tokens}, it must be 1 or more")
        self._documents = documents
        self._seed = seed
        self._num_rows = num_rows
        self._masked_weight = masked_weight
        # A document of one token has no target.
        self._lengths = np.maximum(np.diff(documents.offsets) - 1, 0)
        self._ramp = np.arange(row_length_tokens, dtype=np.int32)
        self.row_length_tokens = row_length_tokens
        self.positions_per_epoch = int(self._lengths.sum())
        if self.positions_per_epoch == 0:
            raise UserError(f"nothing to learn from: {documents.num_documents} documents without a second token")
        self._bins = None if split_documents else self._pack_whole()
        self.rows_per_epoch = (
            -(-self.positions_per_epoch // row_length_tokens) if self._bins is None else len(self._bins)
        )
        self._plan = self._draw_plan(0)

    def __len__(self) -> int:
        return self._num_rows

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < self._num_rows:
            raise IndexError(index)
        epoch, row = divmod(index, self.rows_per_epoch)
        # Read once and replace whole: a prefetch thread may ask at the same time.
        plan = self._plan
        if plan.epoch != epoch:
            plan = self._plan = self._draw_plan(epoch)
        if self._bins is None:
            return self._split_row(plan, row)
        bin_ = self._bins[plan.order[row]]
        return self._assemble([(int(self._documents.offsets[d]), int(self._lengths[d])) for d in bin_])

    def _draw_plan(self, epoch: int) -> _Plan:
        count = len(self._lengths) if self._bins is None else len(self._bins)
        order = np.random.default_rng([self._seed, epoch]).permutation(count)
        ends = np.cumsum(self._lengths[order]) if self._bins is None else np.zeros(0, np.int64)
        return _Plan(epoch, order, ends)

    def _split_row(self, plan: _Plan, row: int) -> Row:
        begin = row * self.row_length_tokens
        end = min(begin + self.row_length_tokens, self.positions_per_epoch)
        pieces = []
        place = int(np.searchsorted(plan.ends, begin, side="right"))
        while begin < end:
            document = plan.order[place]
            left = int(plan.ends[place]) - begin
            count = min(left, end - begin)
            pieces.append((int(self._documents.offsets[document] + self._lengths[document]) - left, count))
            begin += count
            place += 1
        return self._assemble([piece for piece in pieces if piece[1]])

    def _assemble(self, pieces: list[tuple[int, int]]) -> Row:
        """Lay (first token, number of positions) pieces side by side."""
        length = self.row_length_tokens
        row = Row(*(np.zeros(length, t) for t in (np.int32, np.int32, np.float32, np.int32, np.int32)))
        place = 0
        for segment, (first, count) in enumerate(pieces, start=1):
            here, target = slice(place, place + count), slice(first + 1, first + 1 + count)
            row.tokens[here] = self._documents.tokens[first : first + count]
            row.targets[here] = self._documents.tokens[target]
            mask = self._documents.loss_mask
            row.loss_weights[here] = 1.0 if mask is None else self._masked_weight * mask[target]
            row.segment_ids[here] = segment
            row.positions[here] = self._ramp[:count]
            place += count
        return row

    def _pack_whole(self) -> list[list[int]]:
        """Best fit, longest first; the seed orders documents of one length."""
        longest = int(self._lengths.max())
        if longest > self.row_length_tokens:
            raise UserError(
                f"a document of {longest + 1} tokens does not fit a row of {self.row_length_tokens} "
                "(it may hold one token more than the row) and is never cut; raise the context or take it out"
            )
        shuffled = np.random.default_rng(self._seed).permutation(len(self._lengths))
        by_length = shuffled[np.argsort(-self._lengths[shuffled], kind="stable")]
        bins: list[list[int]] = []
        space: list[tuple[int, int]] = []  # (positions left, bin), sorted
        for document in by_length[self._lengths[by_length] > 0]:
            length = int(self._lengths[document])
            best = bisect.bisect_left(space, (length, -1))
            if best == len(space):
                left, bin_ = self.row_length_tokens, len(bins)
                bins.append([])
            else:
                left, bin_ = space.pop(best)
            bins[bin_].append(int(document))
            if left > length:
                bisect.insort(space, (left - length, bin_))
        return bins
