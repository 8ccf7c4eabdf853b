import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codling.rewards.plain_values import MAX_DEPTH, decode_value, encode_value

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
KEYS = st.recursive(LEAVES, lambda inner: st.tuples(inner, inner), max_leaves=4)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner) | st.sets(KEYS),
    max_leaves=10,
)


@given(VALUES)
def test_values_survive_with_their_types(value: Any) -> None:
    again = decode_value(json.loads(json.dumps(encode_value(value))))
    assert again == value
    assert type(again) is type(value)


def test_nan_and_subclasses() -> None:
    assert math.isnan(decode_value(encode_value(math.nan)))
    assert encode_value(type("Loud", (int,), {"__eq__": lambda *_: True})(3)) == 3


@pytest.mark.parametrize("value", [object(), 1j, b"x", len])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="no plain value"):
        encode_value(value)


def test_depth_is_bounded_both_ways() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="too deep"):
        encode_value(endless)
    stored: Any = 1
    for _ in range(MAX_DEPTH + 1):
        stored = {"list": [stored]}
    with pytest.raises(ValueError, match="not a plain value"):
        decode_value(stored)


@pytest.mark.parametrize(
    "stored",
    [
        [],
        {},
        {"list": 1},
        {"float": 1},
        {"float": "big"},
        {"any": []},
        {"dict": [1]},
        {"set": [{"list": []}]},
        {"a": 1, "b": 2},
    ],
)
def test_what_was_never_written_is_refused(stored: Any) -> None:
    with pytest.raises(ValueError, match="not a plain value"):
        decode_value(stored)
