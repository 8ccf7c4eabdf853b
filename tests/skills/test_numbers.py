from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codling.skills.numbers import MAX_DIGITS, last_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", None),
        ("none at all", None),
        ("3", "3"),
        ("3.", "3"),
        ("3 or 4", "4"),
        ("It costs $1,234.50.", "1234.5"),
        ("-3", "-3"),
        ("\u22123", "-3"),
        ("-$3", "-3"),
        ("$-3", "-3"),
        ("5-3", "3"),
        ("x = -.5", "-1/2"),
        ("1,2", "2"),
        ("12,34", "34"),
        ("1,234,567", "1234567"),
        ("1234,567", "567"),
        ("3/4", "3/4"),
        ("6/3 apples", "2"),
        ("1/0", None),
        ("50%", "50"),
        ("20 cm3 x", "3"),
        ("so 19; 19-4: 9-4=5, so 15", "15"),
        ("9" * (MAX_DIGITS + 1), None),
        ("\u0663", None),
    ],
)
def test_what_counts(text: str, number: str | None) -> None:
    assert last_number(text) == (None if number is None else Fraction(number))


@given(st.integers(-(10**9), 10**9), st.integers(0, 10**4))
def test_python_writes_what_is_read(whole: int, hundredths: int) -> None:
    assert last_number(f"about 7, or {whole:,}.") == whole
    assert last_number(f"= {whole}/{hundredths + 1}") == Fraction(whole, hundredths + 1)
    assert last_number(f"${hundredths / 100:.2f}!") == Fraction(hundredths, 100)


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    last_number(text)
