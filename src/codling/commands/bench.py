"""`codling bench`: measure codling itself, next to its peers in the same run."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from codling.commands.options import AsJson, BundlePath
from codling.commands.terminal import open_console, show_json

if TYPE_CHECKING:
    from codling.bench.compress import CompressFigure
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


def bench_compress(
    bundle: BundlePath,
    calibration: Annotated[
        Path, Option(metavar="FILE", help="Text to calibrate by and to train adapters on: UTF-8, or .jsonl.")
    ],
    heldout: Annotated[Path, Option(metavar="FILE", help="Text to measure on, of the same kind.")],
    out: Annotated[
        Path, Option(metavar="DIR", help="Where compressed models are kept; what lies there is not made again.")
    ],
    peers: Annotated[
        list[str], Option("--peer", metavar="NAME", help="llama.cpp, nearest, coremltools, gptq; repeatable.")
    ] = [],  # noqa: B006  typer copies it
    llama_tools: Annotated[
        Path | None, Option("--llama-tools", metavar="DIR", help="Where llama-quantize and llama-imatrix are.")
    ] = None,
    steps: Annotated[int, Option(min=1, help="Updates of each recovery adapter.")] = 200,
    svg: Annotated[Path | None, Option(metavar="FILE", help="Draw the table, too.")] = None,
    as_json: AsJson = False,
) -> None:
    """Quality against bits a weight of one dense bundle, next to other libraries, each part switched off in turn."""
    from codling.bench.compress import CompressBenchConfig, run_compress_bench
    from codling.bench.compress_plot import draw_compress_figures
    from codling.show import show_compress_figures

    out.mkdir(parents=True, exist_ok=True)
    config = CompressBenchConfig(recovery_steps=steps)
    figures = []
    with (out / "figures.jsonl").open("w", encoding="utf-8") as lines:
        for figure in run_compress_bench(
            bundle, calibration, heldout, out, peers, llama_tools=llama_tools, config=config, say=_say
        ):
            figures.append(figure)
            print(json.dumps(_plain(figure)), file=lines, flush=True)
    if svg is not None:
        svg.write_bytes(draw_compress_figures(figures))
    if as_json:
        show_json({"figures": [_plain(figure) for figure in figures]})
    else:
        show_compress_figures(figures, open_console())


def bench_engine(
    out: Annotated[
        Path, Option(metavar="DIR", help="Where models and raw rows are kept; what lies there is not made again.")
    ],
    size: Annotated[str | None, Option(metavar="NAME", help="Shape of the model. Default: device_3b.")] = None,
    threads: Annotated[
        list[int], Option("--threads", min=1, metavar="N", help="Threads of all sides; repeatable. Default: 2 and 1.")
    ] = [],  # noqa: B006  typer copies it
    peers: Annotated[list[str], Option("--peer", metavar="NAME", help="llama.cpp, transformers; repeatable.")] = [],  # noqa: B006  typer copies it
    types: Annotated[
        list[str], Option("--type", metavar="NAME", help="llama.cpp's types of weights; repeatable. Default: five.")
    ] = [],  # noqa: B006  typer copies it
    llama_cache: Annotated[
        str | None, Option("--llama-cache", metavar="NAME", help="llama.cpp's type of keys and values. Default: F16.")
    ] = None,
    small: Annotated[
        Path | None, Option(metavar="BUNDLE", help="A small trained bundle, for example runs/quickstart/device.")
    ] = None,
    only: Annotated[
        list[str], Option("--only", metavar="GROUP", help="Measure this alone; repeatable. An unknown one lists all.")
    ] = [],  # noqa: B006  typer copies it
    rounds: Annotated[int | None, Option(min=1, help="Values of each side; the median counts. Default: 5.")] = None,
    svg: Annotated[Path | None, Option(metavar="FILE", help="Draw speeds, too.")] = None,
    as_json: AsJson = False,
) -> None:
    """Speed and memory of the engine on a large model of random weights, next to llama.cpp in the same process."""
    from codling.bench.engine import run_engine_bench
    from codling.bench.engine_plot import draw_engine_rows
    from codling.bench.engine_run import EngineBenchConfig

    given: dict[str, Any] = {"size": size, "threads": tuple(threads), "types": tuple(types), "llama_cache": llama_cache}
    given |= {"num_rounds": rounds}
    config = EngineBenchConfig()._replace(**{name: value for name, value in given.items() if value})
    figures, rows = run_engine_bench(out, small=small, peers=peers, only=only, config=config, say=_say)
    if svg is not None:
        svg.write_bytes(draw_engine_rows(rows))
    _show(figures, as_json)


def _plain(figure: "CompressFigure") -> dict[str, Any]:
    return figure._asdict() | {"divergence": figure.divergence._asdict()}


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _show(figures: "Sequence[Figure]", as_json: bool) -> None:
    from codling.show import show_figures

    if as_json:
        show_json({"figures": [figure._asdict() for figure in figures]})
    else:
        show_figures(figures, open_console())
