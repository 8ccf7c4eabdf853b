"""A reporter that stops the work, as Ctrl-C would, after some steps."""

import contextlib
from collections.abc import Iterator

from codling.artifact.workspace import Progress, SilentReporter


class StoppingReporter(SilentReporter):
    """Raises `KeyboardInterrupt` when the stretch of `total` units has done `stop_at` of them."""

    def __init__(self, total: int, stop_at: int) -> None:
        self._total, self._stop_at = total, stop_at

    @contextlib.contextmanager
    def progress(self, name: str, total: int, start: int) -> Iterator[Progress]:
        """Stop in the midst of it."""
        yield _Stopping(self._stop_at if total == self._total else None)


class _Stopping:
    def __init__(self, stop_at: int | None) -> None:
        self._stop_at = stop_at

    def update(self, done: int, **figures: float) -> None:
        if done == self._stop_at:
            raise KeyboardInterrupt
