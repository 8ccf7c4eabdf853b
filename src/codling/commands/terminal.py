"""Where commands write: tables, text and JSON to stdout, complaints to stderr, one line each."""

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def open_console() -> "Console":
    """Stdout, with nothing colored that was not told to be."""
    from rich.console import Console

    return Console(highlight=False)


def show_json(values: Mapping[str, Any]) -> None:
    """One JSON object on stdout."""
    print(json.dumps(values, indent=2, ensure_ascii=False))


def complain(message: str) -> None:
    """One line on stderr."""
    print(f"codling: {' '.join(message.splitlines())}", file=sys.stderr)
