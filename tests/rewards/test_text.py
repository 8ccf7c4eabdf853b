import pytest

from codling.config import from_dict
from codling.errors import UserError
from codling.rewards.text import TextCheck
from codling.skills.skill import Answer


def test_words_count_and_their_dress_does_not() -> None:
    check = TextCheck(expected="Book flight")
    assert check.score(Answer("  book\nFLIGHT. ")) == 1
    assert check.score(Answer("book a flight")) == 0
    assert check.score(Answer("book flight", ({"name": "f", "arguments": {}},))) == 0


@pytest.mark.parametrize("expected", ["", " ", "."])
def test_nothing_can_not_be_expected(expected: str) -> None:
    with pytest.raises(UserError, match="expected is empty"):
        from_dict(TextCheck, {"expected": expected}, source="x")
