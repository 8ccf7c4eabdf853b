"""Where a stage works and how it says how far it is."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

CHECKPOINTS_DIRECTORY = "checkpoints"


@runtime_checkable
class Progress(Protocol):
    """The progress of one stretch of long work."""

    def update(self, done: int, **figures: float) -> None:
        """Say how many units are done, with a few figures to show beside."""


@runtime_checkable
class Reporter(Protocol):
    """Shows progress to whoever watches: a terminal, a log, nobody."""

    def progress(self, name: str, total: int, start: int) -> contextlib.AbstractContextManager[Progress]:
        """Begin a stretch of `total` units of which `start` are done already."""

    def warn(self, name: str, message: str) -> None:
        """Say in one line on stderr what went wrong without stopping the work."""


class Workspace(NamedTuple):
    """The directory that becomes the artifact, and the stage's line to whoever watches."""

    name: str
    path: Path
    reporter: Reporter
    shared_path: Path | None = None
    """The directory that all processes of a build have in common, where `path` is this process's own."""

    @property
    def checkpoints_path(self) -> Path:
        """Where a training stage keeps its state: written by all processes together."""
        return (self.shared_path or self.path) / CHECKPOINTS_DIRECTORY

    def progress(self, total: int, start: int = 0) -> contextlib.AbstractContextManager[Progress]:
        """Begin a stretch of long work."""
        return self.reporter.progress(self.name, total, start)

    def warn(self, message: str) -> None:
        """Say what went wrong without stopping the work."""
        self.reporter.warn(self.name, message)


class SilentReporter:
    """Shows nothing."""

    @contextlib.contextmanager
    def progress(self, name: str, total: int, start: int) -> Iterator[Progress]:
        """Swallow the figures."""
        yield _Silence()

    def warn(self, name: str, message: str) -> None:
        """Swallow the message."""


class _Silence:
    def update(self, done: int, **figures: float) -> None:
        pass
