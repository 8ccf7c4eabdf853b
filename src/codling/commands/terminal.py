"""Where commands write: tables and text to stdout, complaints to stderr, one line each."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def open_console() -> "Console":
    """Stdout, with nothing colored that was not told to be."""
    from rich.console import Console

    return Console(highlight=False)


def complain(message: str) -> None:
    """One line on stderr."""
    print(f"codling: {' '.join(message.splitlines())}", file=sys.stderr)
