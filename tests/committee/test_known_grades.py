"""Grades say what a check knows, and nothing else."""

from typing import Any

import pytest

from codling.committee.known_grades import known_grades
from codling.posttrain.gradings import Gradings, InstructionFollowing, Truthfulness, Verbosity
from codling.rewards.check import Check, WeightedCheck, WeightedPart, score
from codling.rewards.format import FormatCheck
from codling.rewards.number import NumberCheck
from codling.rewards.python_tests import PythonTestsCheck
from codling.rewards.text import TextCheck
from codling.rewards.tool_call import ToolCallCheck
from codling.skills.constraints import NoCommas, Sentences, Words
from codling.skills.skill import Answer

SEVEN = NumberCheck(expected="7")
CALL = ToolCallCheck(name="f", arguments={"a": 1, "b": 2}, partial_credit=True)
SHORT = FormatCheck(constraints=(Words(minimum=2, maximum=4), NoCommas()))


def call(**arguments: Any) -> Answer:
    return Answer("", ({"name": "f", "arguments": arguments},))


def grades(check: Check, answer: Answer) -> Gradings:
    return known_grades(check, answer, score(check, answer))


@pytest.mark.parametrize(
    ("check", "answer", "expected"),
    [
        (SEVEN, Answer("7"), Truthfulness.TRUTHFUL),
        (SEVEN, Answer("8"), Truthfulness.UNTRUTHFUL),
        (TextCheck(expected="yes"), Answer("Yes."), Truthfulness.TRUTHFUL),
        (TextCheck(expected="yes"), Answer("no"), Truthfulness.UNTRUTHFUL),
    ],
)
def test_numbers_and_texts_tell_truthfulness_alone(check: Check, answer: Answer, expected: Truthfulness) -> None:
    assert grades(check, answer) == Gradings(truthfulness=expected)


@pytest.mark.parametrize(
    ("answer", "number"), [(call(a=1, b=2), 2), (call(a=1, b=3), 1), (call(), 1), (Answer("done"), 0)]
)
def test_calls_tell_both(answer: Answer, number: int) -> None:
    truthful, followed = list(Truthfulness)[number], list(InstructionFollowing)[number]
    assert grades(CALL, answer) == Gradings(truthfulness=truthful, instruction_following=followed)


@pytest.mark.parametrize(
    ("text", "number", "verbosity"),
    [
        ("a b", 2, Verbosity.RIGHT_LENGTH),
        ("a, b", 1, Verbosity.RIGHT_LENGTH),
        ("a", 1, Verbosity.TOO_SHORT),
        ("a b c d e", 1, Verbosity.TOO_LONG),
        ("a, b c d e", 0, Verbosity.TOO_LONG),
    ],
)
def test_formats_tell_instruction_following_and_length(text: str, number: int, verbosity: Verbosity) -> None:
    followed = list(InstructionFollowing)[number]
    assert grades(SHORT, Answer(text)) == Gradings(instruction_following=followed, verbosity=verbosity)


@pytest.mark.parametrize(
    ("constraints", "text", "expected"),
    [
        ((Words(maximum=2),), "a", Verbosity.RIGHT_LENGTH),
        ((Words(maximum=2),), "a b c", Verbosity.TOO_LONG),
        ((Words(minimum=4), Sentences(minimum=1, maximum=1)), "One only.", Verbosity.TOO_SHORT),
        ((Words(minimum=4), Sentences(minimum=1, maximum=1)), "A b. C d.", Verbosity.TOO_LONG),
        # Too few words in too many sentences: neither grade is right.
        ((Words(minimum=4), Sentences(minimum=1, maximum=1)), "A. B.", None),
        # No upper end, or none at all.
        ((Words(minimum=4),), "a", None),
        ((Words(minimum=4),), "a b c d", None),
        ((NoCommas(),), "a", None),
    ],
)
def test_length_is_graded_where_the_prompt_says_how_long(
    constraints: tuple[Words | Sentences | NoCommas, ...], text: str, expected: Verbosity | None
) -> None:
    assert grades(FormatCheck(constraints=constraints), Answer(text)).verbosity == expected


def test_a_call_has_no_length() -> None:
    assert grades(SHORT, call()).verbosity is None


def test_parts_of_a_weighted_check_tell_what_each_of_them_knows() -> None:
    check = WeightedCheck(parts=(WeightedPart(weight=9.0, check=SEVEN), WeightedPart(weight=1.0, check=SHORT)))
    nested = WeightedCheck(
        parts=(WeightedPart(weight=1.0, check=check), WeightedPart(weight=1.0, check=NumberCheck(expected="8")))
    )
    right = Gradings(
        truthfulness=Truthfulness.TRUTHFUL,
        instruction_following=InstructionFollowing.FOLLOWED,
        verbosity=Verbosity.RIGHT_LENGTH,
    )
    assert grades(check, Answer("It is 7")) == right
    assert grades(nested, Answer("It is 7")).truthfulness is Truthfulness.PARTLY_TRUTHFUL


def test_unit_tests_tell_instruction_following_and_are_not_run_again() -> None:
    """No code is run here: the score is that of the whole check already."""
    check = PythonTestsCheck(tests=("assert f() == 1",))
    expected = [Gradings(instruction_following=grade) for grade in InstructionFollowing]
    assert [known_grades(check, Answer("code"), whole) for whole in (0.0, 0.5, 1.0)] == expected
