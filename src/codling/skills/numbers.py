"""The number that a solution ends in, by which solutions are judged."""

import re
from decimal import Decimal

NUMBER = re.compile(r"(?<![\w.,])[-\u2212]?\$?(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(?!\w)")
"""`-1,234.50`, `$7`; the full stop of a sentence is no part of it, and neither is a digit within a word."""


def last_number(text: str) -> Decimal | None:
    """The value of the last number in a text, or none."""
    numbers = list(NUMBER.finditer(text))
    if not numbers:
        return None
    last = numbers[-1]
    value = Decimal(last[1].replace(",", "") + (last[2] or ""))
    return -value if last[0][0] in "-\u2212" else value
