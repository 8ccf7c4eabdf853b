"""Numbers as people read them on the page: sensible digits, always a unit, a real minus sign."""

from typing import Literal

Number = int | float
Verdict = Literal["better", "worse", "same"]

NOISE_NATS = 0.005
"""Held-out losses nearer than this count as the same. Ours: the last digit that the page shows, with a margin."""

MINUS = "−"
NBSP = "\u00a0"
"""Between a number and its unit: a line never breaks there."""


def loss(nats_per_token: Number) -> str:
    """A loss a token."""
    return f"{nats_per_token:.3f}"


def perplexity(value: Number) -> str:
    """A perplexity a token: three digits or more."""
    return f"{value:.2f}" if value < 100 else f"{value:.1f}"


def nats(value: Number) -> str:
    """A divergence or a cost, which may be very small: three digits that count."""
    return f"{value:#.3g}".replace("-", MINUS) if value else "0"


def signed(nats: Number) -> str:
    """A difference of losses, with its sign."""
    text = f"{nats:+.3f}".replace("-", MINUS)
    return text if text.strip("+0." + MINUS) else "±0.000"


def verdict(change_nats: Number) -> Verdict:
    """What a change of a loss means: less is better."""
    if abs(change_nats) < NOISE_NATS:
        return "same"
    return "better" if change_nats < 0 else "worse"


def percent(share: Number) -> str:
    """A share of one; all and nothing need no decimal."""
    return "0%" if share == 0 else "100%" if share == 1 else f"{100 * share:.1f}%".replace("-", MINUS)


def reward(value: Number) -> str:
    """What an answer earned, or a mean of it."""
    return f"{value:.3f}".replace("-", MINUS)


def points(difference: Number) -> str:
    """A difference of two shares, in percentage points with its sign."""
    text = f"{100 * difference:+.1f}".replace("-", MINUS)
    return text if text.strip("+0." + MINUS) else "±0.0"


def count(number: Number) -> str:
    """Parameters or tokens: three digits and a unit."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        # 999,600 is 1.00 M, not 1000 k.
        if number >= 0.9995 * size:
            return f"{_three_digits(number / size)}{NBSP}{unit}"
    return f"{number:.0f}"


def size(size_bytes: Number) -> str:
    """A file's size in decimal units."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size_bytes >= 0.9995 * factor:
            return f"{_three_digits(size_bytes / factor)}{NBSP}{unit}"
    return f"{size_bytes:.0f}{NBSP}B"


def duration(seconds: Number) -> str:
    """A wall time."""
    if seconds < 9.95:
        return f"{seconds:.1f}{NBSP}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{NBSP}s"
    if whole < 3600:
        return f"{whole // 60}{NBSP}min{NBSP}{whole % 60:02d}{NBSP}s"
    return f"{whole // 3600}{NBSP}h{NBSP}{whole % 3600 // 60:02d}{NBSP}min"


def milliseconds(value: Number) -> str:
    """A short time."""
    return f"{value:.1f}{NBSP}ms" if value < 9.95 else f"{value:.0f}{NBSP}ms"


def bits(number: Number) -> str:
    """Bits, of a weight or of a byte of text."""
    return f"{number:.2f}"


def visible(text: str) -> str:
    """Text of a model as it is, but control characters as the pictures that Unicode has for them."""
    return "".join(chr(0x2400 + ord(c)) if ord(c) < 0x20 and c != "\n" else c for c in text)


def _three_digits(number: Number) -> str:
    return f"{number:.2f}" if number < 9.995 else f"{number:.1f}" if number < 99.95 else f"{number:.0f}"
