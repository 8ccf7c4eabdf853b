"""How a build shows itself: bars in a terminal, plain lines in a log; both leave one line a stage.

[ 1/19] conversations           1.3 s
[ 4/19] server_core            41.2 s  held-out loss 7.446 -> 3.012
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, final

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from codling.artifact.workspace import Progress

LINE_EVERY_S = 10.0
"""In a log, a running stage says how far it is this often."""
NAME_WIDTH = 20

Clock = Callable[[], float]


@contextlib.contextmanager
def build_reporter(
    console: Console, clock: Clock = time.monotonic, warnings: Console | None = None
) -> Iterator["TerminalReporter | LogReporter"]:
    """The reporter that suits where the output goes; whatever happens, the terminal is left in order.

    warnings: where those go; stderr, unless it is given.
    """
    kind = TerminalReporter if console.is_terminal else LogReporter
    reporter = kind(console, clock, warnings or Console(stderr=True, highlight=False))
    try:
        yield reporter
    finally:
        reporter.close()


@final
class TerminalReporter:
    """One moving line for the running stage, which its one still line replaces."""

    def __init__(self, console: Console, clock: Clock, warnings: Console) -> None:
        self._console = console
        self._warnings = warnings
        self._clock = clock
        self._stage = ""
        self._bars: Bars | None = None
        self._waiting = TaskID(0)

    def stage_started(self, name: str, index: int, total: int) -> None:
        """Begin to move."""
        self.close()
        self._stage = _stage(name, index, total)
        self._bars = Bars(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[status]}", style="cyan", markup=False),
            console=self._console,
            transient=True,
            redirect_stderr=False,
        )
        self._bars.start()
        self._waiting = self._bars.add_task(self._stage, total=None, status="")

    def stage_done(self, name: str, seconds: float, headline: str) -> None:
        """Put the still line in the place of the moving one."""
        self.close()
        _print(self._console, _done_line(self._stage, seconds, headline))

    def stage_reused(self, name: str) -> None:
        """Put the still line in the place of the moving one."""
        self.close()
        _print(self._console, _reused_line(self._stage), style="dim")

    @contextlib.contextmanager
    def progress(self, name: str, total: int, start: int) -> Iterator[Progress]:
        """Show a bar for as long as the stretch lasts; before and after it the stage has a pulsing one."""
        assert self._bars is not None
        self._bars.update(self._waiting, visible=False)
        task = self._bars.add_task(self._stage, total=total, completed=start, status=f"{start}/{total}")
        try:
            yield _Bar(self._bars, task, _Pace(total, self._clock))
        finally:
            self._bars.remove_task(task)
            self._bars.update(self._waiting, visible=True)

    def warn(self, name: str, message: str) -> None:
        """Take the moving line out of the way of the warning for a moment."""
        if self._bars is not None:
            self._bars.stop()
        _print(self._warnings, _warning(name, message))
        if self._bars is not None:
            self._bars.start()

    def close(self) -> None:
        """Take the moving line away."""
        if self._bars is not None:
            self._bars.stop()
        self._bars = None


@final
class LogReporter:
    """A line when a stage begins to work and when it ends, and one every LINE_EVERY_S in between."""

    def __init__(self, console: Console, clock: Clock, warnings: Console) -> None:
        self._console = console
        self._warnings = warnings
        self._clock = clock
        self._stage = ""
        self._is_announced = False

    def stage_started(self, name: str, index: int, total: int) -> None:
        """Say so at the first sign of work: the stage may be done already."""
        self._stage = _stage(name, index, total)
        self._is_announced = False

    def stage_done(self, name: str, seconds: float, headline: str) -> None:
        """Say so."""
        _print(self._console, _done_line(self._stage, seconds, headline))

    def stage_reused(self, name: str) -> None:
        """Say so."""
        _print(self._console, _reused_line(self._stage))

    @contextlib.contextmanager
    def progress(self, name: str, total: int, start: int) -> Iterator[Progress]:
        """Write lines for as long as the stretch lasts."""
        if not self._is_announced:
            _print(self._console, f"{self._stage} ...")
        self._is_announced = True
        yield _Lines(self._console, self._clock, self._stage, total)

    def warn(self, name: str, message: str) -> None:
        """Write it where warnings go."""
        _print(self._warnings, _warning(name, message))

    def close(self) -> None:
        """Nothing moves in a log."""


class _Pace:
    """How far a stretch is, in words; the time left is reckoned from the first update, after the compilation."""

    def __init__(self, total: int, clock: Clock) -> None:
        self._total = total
        self._clock = clock
        self._first: tuple[int, float] | None = None

    def describe(self, done: int, figures: Mapping[str, float]) -> str:
        """`212/300  loss 3.210  10,512 tokens/s  21.0 s left`."""
        parts = [f"{done}/{self._total}", *(_figure(name, value) for name, value in sorted(figures.items()))]
        now_s = self._clock()
        if self._first is None:
            self._first = done, now_s
        first_done, first_s = self._first
        if done > first_done:
            parts.append(f"{_duration((now_s - first_s) / (done - first_done) * (self._total - done))} left")
        return "  ".join(parts)


class _Bar(NamedTuple):
    bars: Bars
    task: TaskID
    pace: _Pace

    def update(self, done: int, **figures: float) -> None:
        self.bars.update(self.task, completed=done, status=self.pace.describe(done, figures))


class _Lines:
    def __init__(self, console: Console, clock: Clock, stage: str, total: int) -> None:
        self._console = console
        self._clock = clock
        self._stage = stage
        self._pace = _Pace(total, clock)
        self._last_s = clock()

    def update(self, done: int, **figures: float) -> None:
        status = self._pace.describe(done, figures)
        if self._clock() - self._last_s >= LINE_EVERY_S:
            self._last_s = self._clock()
            _print(self._console, f"{self._stage} {status}")


def _stage(name: str, index: int, total: int) -> str:
    return f"[{index:{len(str(total))}}/{total}] {name:<{NAME_WIDTH}}"


def _done_line(stage: str, seconds: float, headline: str) -> str:
    return f"{stage} {_duration(seconds):>9}  {headline}"


def _reused_line(stage: str) -> str:
    return f"{stage} {'':>9}  done before"


def _figure(name: str, value: float) -> str:
    """`loss 3.210`, `10,512 tokens/s`."""
    if name.endswith("_per_s"):
        return f"{value:,.0f} {name.removesuffix('_per_s')}/s"
    return f"{name} {value:.3f}"


def _warning(name: str, message: str) -> str:
    return f"codling: {name}: {' '.join(message.splitlines())}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02} min"


def _print(console: Console, line: str, style: str | None = None) -> None:
    """As it is: a name in brackets is no markup, and a log's lines are not wrapped."""
    console.print(line.rstrip(), style=style, markup=False, highlight=False, soft_wrap=True)
