"""`codling bench`: measure codling itself, next to its peers in the same run."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from codling.commands.options import AsJson
from codling.commands.terminal import open_console

if TYPE_CHECKING:
    from codling.bench.figure import Figure


def bench_plan(as_json: AsJson = False) -> None:
    """`codling plan` next to published step times and utilization (needs the extra `tpu`)."""
    from codling.bench.plan import run_plan_bench

    _show(run_plan_bench(say=_say), as_json)


def bench_train(as_json: AsJson = False) -> None:
    """Training throughput of one model, next to transformers on PyTorch (needs the extra `compare`)."""
    from codling.bench.train import run_train_bench

    _show(run_train_bench(say=_say), as_json)


def bench_rl(as_json: AsJson = False) -> None:
    """Throughput of online training, next to TRL's RLOO trainer (needs the extra `compare`)."""
    from codling.bench.rl import run_rl_bench

    _show(run_rl_bench(say=_say), as_json)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _show(figures: "Sequence[Figure]", as_json: bool) -> None:
    from codling.show import show_figures, show_json

    if as_json:
        show_json({"figures": [figure._asdict() for figure in figures]})
    else:
        show_figures(figures, open_console())
