import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codling.config import from_dict, to_dict
from codling.data.mixture import PERIOD_ROWS, MixedRows, MixtureWeights, interleave
from codling.data.pack import PackedRows
from codling.data.tokens import join_documents
from codling.errors import UserError


def rows_of(token: int, *, num_rows: int = 10**9, length: int = 4) -> PackedRows:
    documents = join_documents([[token] * 9, [token] * 5])
    return PackedRows(documents, row_length_tokens=length, seed=0, split_documents=True, num_rows=num_rows)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_every_prefix_holds_its_shares_to_within_a_row(counts: list[int]) -> None:
    order = interleave(counts)
    held = np.cumsum(order[:, None] == np.arange(len(counts)), axis=0)
    due = np.arange(1, len(order) + 1)[:, None] * np.asarray(counts) / sum(counts)
    assert np.abs(held - due).max() < 1
    np.testing.assert_array_equal(held[-1], counts)


def test_mixture_keeps_its_weights_over_periods_and_reads_each_kind_in_order() -> None:
    weights = MixtureWeights(share_by_kind={"a": 0.62, "b": 0.25, "c": 0.13})
    kinds = {"a": rows_of(1), "b": rows_of(2), "c": rows_of(3)}
    mixed = MixedRows(kinds, weights)
    start = 3 * PERIOD_ROWS
    tokens = np.array([mixed[start + index].tokens[0] for index in range(PERIOD_ROWS)])
    for n in (1, 7, 100, 333, PERIOD_ROWS):
        held = np.bincount(tokens[:n], minlength=4)[1:]
        assert np.abs(held - n * np.array([0.62, 0.25, 0.13])).max() < 1
    of_b = np.flatnonzero(tokens == 2)
    for rank, place in enumerate(of_b.tolist()):
        for one, other in zip(mixed[start + place], kinds["b"][3 * 250 + rank], strict=True):
            np.testing.assert_array_equal(one, other)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(min_size=1, max_size=3), st.floats(0.5, 50), min_size=1, max_size=8))
def test_rows_of_a_period_follow_the_weights_in_any_unit(shares: dict[str, float]) -> None:
    rows = MixtureWeights(share_by_kind=shares).rows_per_period()
    assert sum(rows.values()) == PERIOD_ROWS
    for kind, share in shares.items():
        assert abs(rows[kind] - PERIOD_ROWS * share / sum(shares.values())) < 1


def test_the_order_in_which_kinds_are_listed_changes_nothing() -> None:
    kinds = {"a": rows_of(1), "b": rows_of(2)}
    one = MixedRows(kinds, MixtureWeights(share_by_kind={"a": 0.3, "b": 0.7}))
    other = MixedRows(dict(reversed(kinds.items())), MixtureWeights(share_by_kind={"b": 0.7, "a": 0.3}))
    for index in range(20):
        np.testing.assert_array_equal(one[index].tokens, other[index].tokens)


def test_one_kind_alone_and_finite_kinds() -> None:
    mixed = MixedRows({"a": rows_of(1, num_rows=2500)}, MixtureWeights(share_by_kind={"a": 3.0}))
    assert len(mixed) == 2 * PERIOD_ROWS
    assert mixed[len(mixed) - 1].tokens[0] == 1


def test_weights_survive_the_recipe_file() -> None:
    weights = from_dict(MixtureWeights, {"share_by_kind": {"a": 2, "b": 0.5}}, source="recipe")
    assert from_dict(MixtureWeights, to_dict(weights), source="recipe") == weights


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({}, "share_by_kind is empty"),
        ({"a": 1.0, "b": 0.0}, "share of 'b' is 0.0; make it positive"),
        ({"a": -1.0}, "share of 'a' is -1.0"),
        ({"a": float("inf")}, "share of 'a' is inf"),
        ({"a": 1.0, "b": 1e-4}, f"share of 'b' is below 1/{PERIOD_ROWS}"),
        ({"a": "much"}, "share_by_kind.a"),
    ],
)
def test_bad_weights_are_named(shares: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_dict(MixtureWeights, {"share_by_kind": shares}, source="recipe")


def test_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match="unknown kind 'poems'; the corpus holds stories, tales"):
        MixedRows({"tales": rows_of(1), "stories": rows_of(2)}, MixtureWeights(share_by_kind={"poems": 1.0}))


def test_rows_of_different_lengths_are_refused() -> None:
    weights = MixtureWeights(share_by_kind={"a": 1.0, "b": 1.0})
    with pytest.raises(ValueError, match=r"different lengths.*\[4, 8\]"):
        MixedRows({"a": rows_of(1), "b": rows_of(2, length=8)}, weights)
