from decimal import Decimal

import pytest

from codling.skills.numbers import last_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7 + 8 = 15. The answer is 85.", "85"),
        ("It costs $1,234.50!", "1234.50"),
        ("minus five is -5", "-5"),
        ("\u22123 degrees", "-3"),
        ("85.0", "85.0"),
        ("12 apples, then 3", "3"),
        ("2,3", "2"),  # no thousands, and no list
        ("no number", None),
        ("", None),
        ("the 3rd", None),
        ("B2B", None),
    ],
)
def test_the_last_number_counts(text: str, number: str | None) -> None:
    expected = None if number is None else Decimal(number)
    assert last_number(text) == expected
