import itertools
from collections import Counter

import numpy as np
import pytest

from codling.data.pack import PackedRows, Row
from codling.data.tokens import TokenizedDocuments, join_documents
from codling.errors import UserError

LENGTH = 16


def unique_documents(lengths: list[int], *, masked: bool = False) -> TokenizedDocuments:
    """Documents in which every token occurs once, so that it tells where it comes from; 0 is for padding."""
    ends = np.cumsum([1, *lengths])
    tokens = [list(range(a, b)) for a, b in itertools.pairwise(ends.tolist())]
    masks = [[token % 3 == 0 for token in document] for document in tokens]
    return join_documents(tokens, masks if masked else None)


def random_lengths(seed: int, longest: int) -> list[int]:
    return [int(n) for n in np.random.default_rng(seed).integers(0, longest + 1, 60)]


def pack(documents: TokenizedDocuments, *, seed: int = 0, split: bool, length: int = LENGTH) -> PackedRows:
    return PackedRows(documents, row_length_tokens=length, seed=seed, split_documents=split)


def epoch_of(rows: PackedRows, epoch: int = 0) -> list[Row]:
    return [rows[epoch * rows.rows_per_epoch + index] for index in range(rows.rows_per_epoch)]


def naive_split_rows(documents: TokenizedDocuments, order: np.ndarray, length: int) -> list[list[tuple[int, ...]]]:
    """(token, target, weight, segment, position) of each position, from the definition alone."""
    pairs = []
    for document in order:
        ids = range(documents.offsets[document], documents.offsets[document + 1])
        pairs += [(document, here, here + 1) for here in list(ids)[:-1]]
    rows = []
    for begin in range(0, len(pairs), length):
        row: list[tuple[int, ...]] = []
        segment = position = 0
        for index, (document, here, target) in enumerate(pairs[begin : begin + length]):
            new = index == 0 or pairs[begin + index - 1][0] != document
            segment, position = segment + new, 0 if new else position + 1
            weight = documents.loss_mask is None or bool(documents.loss_mask[target])
            row.append((int(documents.tokens[here]), int(documents.tokens[target]), weight, segment, position))
        rows.append(row + [(0,) * 5] * (length - len(row)))
    return rows


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_token_but_a_first_one_is_a_target_once_an_epoch(split: bool, seed: int) -> None:
    documents = unique_documents(random_lengths(seed, LENGTH + 1))
    first = set(documents.tokens[documents.offsets[:-1][np.diff(documents.offsets) > 0]].tolist())
    rows = pack(documents, seed=seed, split=split)
    for epoch in (0, 1, 5):
        targets = Counter(t for row in epoch_of(rows, epoch) for t in row.targets[row.loss_weights > 0].tolist())
        assert set(targets.values()) == {1}
        assert set(targets) == set(documents.tokens.tolist()) - first


@pytest.mark.parametrize("split", [True, False])
def test_no_target_lies_in_another_document(split: bool) -> None:
    documents = unique_documents(random_lengths(2, LENGTH + 1))
    document_of = dict(
        zip(
            documents.tokens.tolist(),
            np.repeat(np.arange(documents.num_documents), np.diff(documents.offsets)).tolist(),
            strict=True,
        )
    )
    for row in epoch_of(pack(documents, split=split)):
        real = row.segment_ids > 0
        np.testing.assert_array_equal(row.targets[real], row.tokens[real] + 1)
        for token, target in zip(row.tokens[real].tolist(), row.targets[real].tolist(), strict=True):
            assert document_of[token] == document_of[target]
        assert not row.tokens[~real].any()
        assert not row.targets[~real].any()
        assert not row.loss_weights[~real].any()
        assert not row.positions[~real].any()


def test_only_the_last_row_of_an_epoch_has_padding_when_documents_are_split() -> None:
    rows = epoch_of(pack(unique_documents(random_lengths(3, 40)), split=True))
    assert all((row.segment_ids > 0).all() for row in rows[:-1])


def test_a_document_is_whole_in_one_row_when_not_split() -> None:
    lengths = random_lengths(4, LENGTH + 1)
    rows = epoch_of(pack(unique_documents(lengths), split=False))
    seen = Counter(int(n) for row in rows for n in np.bincount(row.segment_ids)[1:])
    assert seen == Counter(length - 1 for length in lengths if length > 1)


def test_best_fit_wastes_little() -> None:
    rows = pack(unique_documents(random_lengths(5, LENGTH + 1)), split=False)
    assert rows.positions_per_epoch > 0.9 * rows.rows_per_epoch * LENGTH


def test_epochs_and_seeds_give_different_orders_of_the_same_rows() -> None:
    documents = unique_documents(random_lengths(6, 10))
    for split in (True, False):
        orders = [
            tuple(np.concatenate([row.tokens for row in epoch_of(pack(documents, seed=seed, split=split), epoch)]))
            for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1))
        ]
        assert len(set(orders)) == 4
    first, second = (
        Counter(row.tokens.tobytes() for row in epoch_of(rows, 0)) for rows in [pack(documents, split=False)] * 2
    )
    assert first == second


@pytest.mark.parametrize("split", [True, False])
def test_a_row_depends_on_its_index_only(split: bool) -> None:
    documents = unique_documents(random_lengths(7, LENGTH + 1), masked=True)
    forward, backward = pack(documents, split=split), pack(documents, split=split)
    indices = range(3 * forward.rows_per_epoch)
    ahead = {index: forward[index] for index in indices}
    for index in reversed(indices):
        for one, other in zip(backward[index], ahead[index], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("length", [1, 7, 16, 1000])
def test_split_rows_equal_those_of_the_definition(length: int, masked: bool) -> None:
    documents = unique_documents(random_lengths(8, 30), masked=masked)
    rows = pack(documents, seed=3, split=True, length=length)
    for epoch in (0, 2):
        order = np.random.default_rng([3, epoch]).permutation(documents.num_documents)
        expected = naive_split_rows(documents, order, length)
        assert rows.rows_per_epoch == len(expected)
        for row, naive in zip(epoch_of(rows, epoch), expected, strict=True):
            np.testing.assert_array_equal(np.stack(row, axis=-1), np.asarray(naive))


def test_rows_have_the_promised_types_and_number() -> None:
    rows = PackedRows(unique_documents([30]), row_length_tokens=8, seed=0, split_documents=True, num_rows=9)
    assert [array.dtype.name for array in rows[0]] == ["int32", "int32", "float32", "int32", "int32"]
    assert len(rows) == 9
    for index in (9, -1):
        with pytest.raises(IndexError):
            rows[index]


def test_too_long_a_conversation_is_named_and_not_cut() -> None:
    assert pack(unique_documents([LENGTH + 1]), split=False).rows_per_epoch == 1
    with pytest.raises(UserError, match=rf"{LENGTH + 2} tokens does not fit a row of {LENGTH} "):
        pack(unique_documents([3, LENGTH + 2]), split=False)


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("lengths", [[], [0], [1, 1]])
def test_documents_without_a_target_are_refused(lengths: list[int], split: bool) -> None:
    with pytest.raises(UserError, match="nothing to learn from"):
        pack(unique_documents(lengths), split=split)


def test_a_row_without_length_is_refused() -> None:
    with pytest.raises(UserError, match="row_length_tokens is 0"):
        pack(unique_documents([5]), split=True, length=0)
