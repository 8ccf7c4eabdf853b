"""What holds for every kind of check."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codling.errors import UserError
from codling.rewards.check import Check, WeightedCheck, WeightedPart, read_check, score, write_check
from codling.rewards.format import FormatCheck
from codling.rewards.number import NumberCheck
from codling.rewards.python_tests import PythonTestsCheck
from codling.rewards.text import TextCheck
from codling.rewards.tool_call import ToolCallCheck
from codling.skills.constraints import Bullets, JsonObject, Quoted, Sentences, Words
from codling.skills.skill import Answer

HALF = FormatCheck(constraints=(Words(minimum=2), Words(maximum=1)))
CHECKS: list[Check] = [
    NumberCheck(expected="3"),
    TextCheck(expected="yes"),
    ToolCallCheck(name="f", arguments={"a": [1, {"b": None}]}, partial_credit=True),
    FormatCheck(constraints=(Bullets(count=2), Quoted(), JsonObject(keys=("a",)), Sentences(minimum=1, maximum=3))),
    PythonTestsCheck(tests=("assert f() == 1",)),
    WeightedCheck(
        parts=(
            WeightedPart(weight=1.0, check=TextCheck(expected="3")),
            WeightedPart(
                weight=3.0, check=WeightedCheck(parts=(WeightedPart(weight=0.5, check=NumberCheck(expected="3")),))
            ),
        )
    ),
]
RUN_NO_CODE = [check for check in CHECKS if check.kind != "python_tests"]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.kind)
def test_checks_are_read_as_they_were_written(check: Check) -> None:
    assert read_check(write_check(check), source="x") == check
    assert write_check(check)["kind"] == check.kind


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.kind)
def test_an_empty_answer_scores_nothing(check: Check) -> None:
    assert score(check, Answer()) == score(check, Answer(" \n")) == 0


@given(st.text(), st.booleans())
def test_scores_are_shares(text: str, calls: bool) -> None:
    made = ({"name": "f", "arguments": text},) if calls else ()
    for check in RUN_NO_CODE:
        assert 0 <= score(check, Answer(text, made)) <= 1


def test_weights_are_relative() -> None:
    parts: list[tuple[Check, float]] = [(TextCheck(expected="3"), 1.0), (NumberCheck(expected="3"), 3.0), (HALF, 4.0)]
    for scale in (1.0, 1e-300, 1e300):
        check = WeightedCheck(parts=tuple(WeightedPart(weight=w * scale, check=c) for c, w in parts))
        assert score(check, Answer("so 3")) == pytest.approx((0 + 3 + 2) / 8)
    assert math.isfinite(score(WeightedCheck(parts=(WeightedPart(weight=1e308, check=HALF),) * 3), Answer("a")))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "vibes"}, "'vibes' found using 'kind'.*'number', 'text'"),
        ({"expected": "3"}, "kind"),
        ({"kind": "number", "expected": "3", "tolerance": 1}, r"x: unknown key 'check\.number\.tolerance'"),
        ({"kind": "number", "expected": 3}, r"key 'check\.number\.expected'"),
        ({"kind": "weighted", "parts": []}, "parts is empty"),
        *(
            ({"kind": "weighted", "parts": [{"weight": weight, "check": {"kind": "text", "expected": "a"}}]}, "weight")
            for weight in (0, -1, float("nan"), float("inf"), "1")
        ),
        ({"kind": "weighted", "parts": [{"weight": 1, "check": {"kind": "vibes"}}]}, "'vibes' found using 'kind'"),
        ({"kind": "python_tests", "tests": ["assert f() == 1"], "sandbox": {"gpu": 1}}, r"sandbox\.gpu"),
    ],
)
def test_bad_input_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_check(values, source="x")
