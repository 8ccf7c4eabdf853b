import pytest

from codling.rewards.number import NumberCheck, score_number


def test_value_counts_and_not_spelling() -> None:
    check = NumberCheck(number="1200")
    assert score_number(check, "so 1,200.00 in all") == 1.0
    assert score_number(check, "1200 or 12") == 0.0
    assert score_number(check, "") == 0.0


def test_a_check_without_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="number 'ten' is none"):
        NumberCheck(number="ten")
