import io
import subprocess
import sys
from typing import Any

import pytest
from rich.console import Console

from codling.progress import LogReporter, TerminalReporter, build_reporter


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def console(*, is_terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=is_terminal, width=120, _environ={})


def text(made: Console) -> str:
    assert isinstance(made.file, io.StringIO)
    return made.file.getvalue()


def run_stages(reporter: Any, clock: Clock, *, step_s: float = 4.0) -> None:
    reporter.stage_started("tokens", 1, 10)
    reporter.stage_reused("tokens")
    reporter.stage_started("server_core", 2, 10)
    with reporter.progress("server_core", 300, 100) as progress:
        for done in range(110, 160, 10):
            clock.now_s += step_s
            progress.update(done, loss=3.21, tokens_per_s=10512.4)
    reporter.stage_done("server_core", 75.2, "held-out loss 7.4 -> 3.0")


def test_a_log_has_plain_lines_one_each_ten_seconds() -> None:
    made, clock = console(is_terminal=False), Clock()
    with build_reporter(made, clock) as reporter:
        assert isinstance(reporter, LogReporter)
        run_stages(reporter, clock)
    assert text(made).splitlines() == [
        "[ 1/10] tokens                          done before",
        "[ 2/10] server_core          ...",
        "[ 2/10] server_core          130/300  loss 3.210  10,512 tokens/s  1:08 min left",
        "[ 2/10] server_core           1:15 min  held-out loss 7.4 -> 3.0",
    ]


def test_a_terminal_keeps_one_still_line_a_stage() -> None:
    made, clock = console(is_terminal=True), Clock()
    with build_reporter(made, clock) as reporter:
        assert isinstance(reporter, TerminalReporter)
        run_stages(reporter, clock)
    # What is left when the cursor has gone up and the moving lines were erased.
    still = [line for line in text(made).split("\n") if "done before" in line or "7.4 -> 3.0" in line]
    assert len(still) == 2
    assert "\x1b[2K" in text(made)


def test_a_moving_line_has_all_figures_and_the_time_left() -> None:
    made, clock = console(is_terminal=True), Clock()
    with build_reporter(made, clock) as reporter:
        reporter.stage_started("server_core", 2, 10)
        with reporter.progress("server_core", 300, 100) as progress:
            progress.update(110, loss=3.21)
            clock.now_s += 5
            progress.update(120, loss=3.11, tokens_per_s=2000.0)
            assert isinstance(reporter, TerminalReporter)
            assert reporter._bars is not None
            reporter._bars.refresh()
    assert "120/300  loss 3.110  2,000 tokens/s  1:30 min left" in text(made)


def test_a_failure_leaves_the_terminal_in_order() -> None:
    made = console(is_terminal=True)

    def fail() -> None:
        with build_reporter(made) as reporter:
            reporter.stage_started("server_core", 2, 10)
            with reporter.progress("server_core", 300, 0):
                raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    assert text(made).rindex(shown) > text(made).rindex(hidden)


def test_a_stage_may_have_several_stretches_or_none() -> None:
    for is_terminal in (False, True):
        made = console(is_terminal=is_terminal)
        with build_reporter(made) as reporter:
            reporter.stage_started("prune", 1, 2)
            for total in (3, 5):
                with reporter.progress("prune", total, 0) as progress:
                    progress.update(total)
            reporter.stage_done("prune", 0.1, "")
            reporter.stage_started("bundle", 2, 2)
            reporter.stage_done("bundle", 0.1, "")
        assert "bundle" in text(made)


def test_brackets_in_a_name_are_no_markup() -> None:
    made = console(is_terminal=True)
    with build_reporter(made) as reporter:
        reporter.stage_started("[red]x[/red]", 1, 1)
        reporter.stage_done("[red]x[/red]", 1.0, "[bold]")
    assert "[red]x[/red]" in text(made)
    assert "[bold]" in text(made)


def test_import_says_nothing() -> None:
    command = [sys.executable, "-c", "import codling.progress"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == done.stderr == b""


@pytest.mark.parametrize("is_terminal", [True, False], ids=["terminal", "log"])
def test_a_warning_is_one_line_of_its_own(is_terminal: bool) -> None:
    made, warnings = console(is_terminal=is_terminal), console(is_terminal=False)
    with build_reporter(made, warnings=warnings) as reporter:
        reporter.warn("server_core", "before [it] began")
        reporter.stage_started("server_core", 1, 2)
        with reporter.progress("server_core", 3, 0) as progress:
            reporter.warn("server_core", "checkpoint 6 is\ndamaged")
            progress.update(1, loss=1.0)
        reporter.stage_done("server_core", 1.0, "")
    assert text(warnings).splitlines() == [
        "codling: server_core: before [it] began",
        "codling: server_core: checkpoint 6 is damaged",
    ]
    assert "damaged" not in text(made)
    assert "1.0 s" in text(made)


def test_warnings_go_to_stderr_unless_told_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    with build_reporter(console(is_terminal=False)) as reporter:
        reporter.warn("server_core", "x" * 300)
    assert capsys.readouterr().err == f"codling: server_core: {'x' * 300}\n"
