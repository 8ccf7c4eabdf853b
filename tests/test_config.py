"""Configurations are strict, frozen, and written as they are read."""

import dataclasses

import pytest

from codling.config import config, from_dict, override, to_dict
from codling.errors import UserError


@config
class Inner:
    size: int
    rate: float = 0.5


@config
class Outer:
    inner: Inner
    names: tuple[str, ...] = ()
    note: str | None = None


def test_round_trip_leaves_out_what_is_none() -> None:
    value = Outer(inner=Inner(size=3), names=("a", "b"))
    assert to_dict(value) == {"inner": {"size": 3, "rate": 0.5}, "names": ["a", "b"]}
    assert from_dict(Outer, to_dict(value), source="x") == value


def test_a_whole_number_may_stand_for_a_float_but_not_the_reverse() -> None:
    assert from_dict(Inner, {"size": 1, "rate": 2}, source="x").rate == 2.0
    with pytest.raises(UserError, match="x: key 'size': input should be a valid integer"):
        from_dict(Inner, {"size": 1.5}, source="x")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "x: key 'inner' is missing"),
        ({"inner": {"size": 1, "speed": 2}}, r"x: unknown key 'inner\.speed' \(known here: size, rate\)"),
        ({"inner": {"size": "1"}}, r"x: key 'inner\.size': input should be a valid integer, got '1'"),
        ({"inner": {"size": 1}, "names": "ab"}, "x: key 'names'"),
    ],
)
def test_errors_name_source_and_key(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_dict(Outer, values, source="x")


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Inner(size=1).size = 2  # type: ignore[misc]


def test_overrides_read_values_as_toml_and_leave_the_original() -> None:
    values = {"inner": {"size": 1}}
    changed = override(values, ["inner.size=7", 'names=["p"]', "note=plain words"])
    assert changed == {"inner": {"size": 7}, "names": ["p"], "note": "plain words"}
    assert values == {"inner": {"size": 1}}


@pytest.mark.parametrize("assignment", ["inner.size", "=3", "inner.size.deep=3"])
def test_malformed_overrides(assignment: str) -> None:
    with pytest.raises(UserError, match="--set"):
        override({"inner": {"size": 1}}, [assignment])
