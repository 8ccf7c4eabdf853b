import pytest

from codling.config import from_dict
from codling.errors import UserError
from codling.rewards.number import NumberCheck
from codling.skills.skill import Answer


@pytest.mark.parametrize(
    ("expected", "text", "right"),
    [
        ("85", "7+8=15, 4+3+1=8, so 85", True),
        ("85", "85 or 86", False),
        ("1200", "That makes $1,200.00.", True),
        ("-3", "It is -3.", True),
        ("3", "It is -3.", False),
        ("0.75", "3/4", True),
        ("1/3", "0.333", False),
        ("85", "eighty-five", False),
        ("85", "", False),
    ],
)
def test_the_last_number_counts(expected: str, text: str, right: bool) -> None:
    assert NumberCheck(expected=expected).score(Answer(text)) == right


def test_a_call_is_no_number() -> None:
    assert NumberCheck(expected="3").score(Answer("3", ({"name": "f", "arguments": {}},))) == 0


@pytest.mark.parametrize("expected", ["", "three", "3 apples", "3 4", "1/0", "9" * 200, "nan", "inf"])
def test_what_is_no_number_is_refused(expected: str) -> None:
    with pytest.raises(UserError, match="must be one number"):
        from_dict(NumberCheck, {"expected": expected}, source="x")
