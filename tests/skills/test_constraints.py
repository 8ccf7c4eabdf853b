import pytest

from codling.errors import UserError
from codling.skills.constraints import (
    Constraint,
    EndsWith,
    HasWord,
    IsJson,
    LacksCommas,
    LacksWord,
    Letters,
    NumItems,
    NumSentences,
    NumWords,
    StartsWith,
    read_constraints,
)

MET: list[tuple[Constraint, str, str]] = [
    (NumWords(least=2, most=3), "one two  three", "one"),
    (NumWords(most=2), "", "one two three"),
    (NumSentences(least=2, most=2), "It ran. Why?!", "It ran."),
    (NumSentences(least=1), "It cost 2.50 dollars.", "no end"),
    (HasWord(word="cat"), "A Cat.", "concat"),
    (HasWord(word="c++"), "use c++ now", "c"),
    (LacksWord(word="cat"), "cats", "the cat"),
    (Letters(case="small"), "all small, 3.", "Not"),
    (Letters(case="capital"), "ALL 3", "ALl"),
    (StartsWith(start="Dear"), " Dear Tom", "dear Tom"),
    (EndsWith(end="!"), "Yes! ", "Yes."),
    (NumItems(num_items=2), "- a\n* b", "- a\nb"),
    (NumItems(num_items=1), "\n- a\n", "-a"),
    (LacksCommas(), "a b", "a, b"),
    (IsJson(), '{"a": [1]}', "1"),
    (IsJson(), "[]", "{'a': 1}"),
]


@pytest.mark.parametrize(("constraint", "met", "missed"), MET, ids=lambda value: str(value)[:40])
def test_met_and_missed(constraint: Constraint, met: str, missed: str) -> None:
    assert constraint.is_met(met)
    assert not constraint.is_met(missed)


def test_no_letters_are_neither_small_nor_capital() -> None:
    assert not Letters(case="small").is_met("12")
    assert not Letters(case="capital").is_met("")


def test_deep_nesting_is_no_json() -> None:
    assert not IsJson().is_met("[" * 100_000)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([{"kind": "rhyme"}], "rhyme"),
        ([{"word": "cat"}], "kind"),
        ([{"kind": "has_word"}], "word"),
        ([{"kind": "letters", "case": "mixed"}], "case"),
        ([{"kind": "has_word", "word": "cat", "often": 2}], "often"),
    ],
)
def test_bad_constraints_are_named(values: list[object], message: str) -> None:
    with pytest.raises(UserError, match=rf"^file:3: .*{message}"):
        read_constraints(values, source="file:3")
