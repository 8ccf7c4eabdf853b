"""SIGTERM, by which clusters announce that a machine will be taken away: noted, and acted upon between two steps."""

import contextlib
import signal
import threading
from collections.abc import Iterator


class Termination:
    """Whether somebody has asked the process to end."""

    def __init__(self) -> None:
        self.is_requested = False

    def request(self, *_: object) -> None:
        """Note it; what runs goes on."""
        self.is_requested = True


@contextlib.contextmanager
def noting_sigterm() -> Iterator[Termination]:
    """Note SIGTERM in place of what it did before; in the main thread only, as Python has it no other way."""
    termination = Termination()
    if threading.current_thread() is not threading.main_thread():
        yield termination
        return
    before = signal.signal(signal.SIGTERM, termination.request)
    try:
        yield termination
    finally:
        signal.signal(signal.SIGTERM, before)
