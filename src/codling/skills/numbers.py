"""Which number a text ends in; how answers to arithmetic are read."""

import re
from collections import deque
from fractions import Fraction

NUMBER = re.compile(
    r"(?:(?<![\w.)])(?P<sign>[-\u2212]\$?|\$[-\u2212]))?"
    r"(?P<digits>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:/(?P<under>\d+))?",
    re.ASCII,
)
MAX_DIGITS = 100
"""A longer number is none: nobody means it, and reading it takes more than linear time."""


def last_number(text: str) -> Fraction | None:
    """Read the last number of a text; none where it holds no number.

    What counts: a sign before it ("-3", "-$3", "$-3", but "5-3" ends in 3), decimals ("2.50", ".5"), commas between
    groups of three ("1,200", but "1,2" ends in 2), one fraction ("3/4" is three quarters). What follows does not
    change it: a full stop, "%", a unit. Powers of ten ("1e5") and numbers in words do not count.
    """
    found = deque(NUMBER.finditer(text), maxlen=1)
    if not found or len(found[0][0]) > MAX_DIGITS:
        return None
    sign, digits, under = found[0].group("sign", "digits", "under")
    if under and not int(under):
        return None
    value = Fraction(digits.replace(",", "")) / int(under or 1)
    return -value if sign else value
