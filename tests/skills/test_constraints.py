from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codling.config import to_dict
from codling.errors import UserError
from codling.skills.constraints import read_constraint

CASES: list[tuple[dict[str, Any], list[str], list[str]]] = [
    ({"kind": "words", "minimum": 2, "maximum": 3}, ["a b", " a  b\nc "], ["a", "a b c d", ""]),
    ({"kind": "words", "maximum": 1}, ["", "a"], ["a b"]),
    (
        {"kind": "sentences", "minimum": 2, "maximum": 2},
        ["A. B!", "A? B", 'He said "A." B.', "3.5 m. B."],
        ["A.", "A. B. C."],
    ),
    ({"kind": "sentences", "minimum": 1}, ["A", "..A"], ["", "..."]),
    ({"kind": "includes", "words": ["red", "big dog"]}, ["A Red, big dog."], ["a reddish big dog", "red dog", ""]),
    ({"kind": "excludes", "words": ["red", "a+b"]}, ["reddish", ""], ["It is RED.", "red", "a+b"]),
    ({"kind": "letter_case", "case": "lower"}, ["a dog, 3", "\u00e9"], ["A dog", "3", ""]),
    ({"kind": "letter_case", "case": "upper"}, ["A DOG!"], ["A Dog", "!"]),
    ({"kind": "starts_with", "text": "Today "}, ["today it", " TODAY x"], ["Todays", "It is today "]),
    ({"kind": "ends_with", "text": "the end."}, ["It is The End.\n"], ["the end"]),
    (
        {"kind": "bullets", "count": 2},
        ["- a\n* b", "List:\n  - a\n\u2022 b"],
        ["- a", "-a\n-b", "a - b\n- c", "- a\n- b\n- c"],
    ),
    ({"kind": "no_commas"}, ["a b", ""], ["a, b"]),
    (
        {"kind": "json_object", "keys": ["a"]},
        ['{"a": 1}', ' {"a": 1, "b": 2}\n'],
        ['{"b": 1}', "[1]", "a", "[" * 10**5],
    ),
    ({"kind": "quoted"}, ['"a b"', "\u201ca\u201d"], ['"a', 'a"', '""', "'a'", '"']),
]


@pytest.mark.parametrize(("values", "met", "missed"), CASES, ids=lambda value: str(value)[:30])
def test_what_meets_it(values: dict[str, object], met: list[str], missed: list[str]) -> None:
    constraint = read_constraint(values)
    assert [constraint.met(text) for text in met] == [True] * len(met)
    assert [constraint.met(text) for text in missed] == [False] * len(missed)
    assert read_constraint(to_dict(constraint)) == constraint


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    for values, _, _ in CASES:
        assert read_constraint(values).met(text) in (True, False)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "rhymes"}, "'rhymes'"),
        ({}, "kind"),
        ({"kind": "words"}, "leave nothing to check"),
        ({"kind": "words", "minimum": 3, "maximum": 2}, "minimum 3 and maximum 2"),
        ({"kind": "sentences", "minimum": -1}, "minimum -1"),
        ({"kind": "includes", "words": []}, "words is empty"),
        ({"kind": "excludes", "words": [" "]}, "an empty word"),
        ({"kind": "letter_case", "case": "title"}, "case"),
        ({"kind": "bullets", "num": 2}, "num"),
        ({"kind": "bullets", "count": 0}, "count is 0"),
        ({"kind": "starts_with", "text": ""}, "text is empty"),
        ({"kind": "ends_with", "text": " "}, "text is empty"),
    ],
)
def test_bad_input_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_constraint(values)
