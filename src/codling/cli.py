"""The command line: the only place that parses one. Each command opens its inputs, calls one function and shows it.

What computes is imported inside the commands, so that `codling --help` answers at once.
"""

import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from codling.disk import quiet_libraries, refusal, writing_to
from codling.errors import Terminated, UserError
from codling.train.host import prepare_host

if TYPE_CHECKING:
    from rich.console import Console

    from codling.chat.session import Session

EXIT_DAMAGED, EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_TERMINATED = 1, 2, 130, 143

app = typer.Typer(
    help="Grow a pair of language models from one recipe, a server model and its on-device sibling, and run them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
recipe_app = typer.Typer(help="Look at recipes.", no_args_is_help=True)
evaluate_app = typer.Typer(help="Measure a model.", no_args_is_help=True)
bench_app = typer.Typer(help="Measure codling itself, next to its peers in the same run.", no_args_is_help=True)
app.add_typer(recipe_app, name="recipe")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(bench_app, name="bench")

BundlePath = Annotated[
    Path, Argument(metavar="BUNDLE", help="Directory of a bundle, for example runs/quickstart/device.")
]
AdapterName = Annotated[
    str | None,
    Option(
        "--adapter", metavar="NAME", help="Adapter of the bundle, or 'none'. Default: its recovery adapter, if any."
    ),
]
MaxTokens = Annotated[
    int | None, Option("--max-tokens", min=1, help="Longest answer. Default: what the context holds.")
]
Temperature = Annotated[float, Option(min=0.0, help="0 takes the most likely token, 1 draws as the model predicts.")]
TopP = Annotated[float, Option("--top-p", min=0.0, max=1.0, help="Draw from the likeliest tokens of this total mass.")]
Seed = Annotated[int, Option(min=0, help="The same seed draws the same tokens.")]
SystemText = Annotated[str | None, Option("--system", metavar="TEXT", help="System message of the conversation.")]
ToolsFile = Annotated[Path | None, Option("--tools", metavar="FILE.json", help="List of function definitions.")]
AsJson = Annotated[bool, Option("--json", help="One JSON object on stdout, for programs.")]
Assignments = Annotated[
    list[str], Option("--set", metavar="a.b=v", help="Override one value of the recipe; repeatable.")
]


class ExportFormat(StrEnum):
    """What a bundle may be written as."""

    hf = "hf"


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, Option("--version", help="Show the version and leave.")] = False) -> None:
    if version:
        from importlib.metadata import version as version_of

        print(f"codling {version_of('codling')}")
        raise typer.Exit


@app.command(epilog="Example: codling build quickstart --set server_core.loop.num_steps=500")
def build(
    recipe: Annotated[str, Argument(metavar="RECIPE|FILE.toml", help="Name of a recipe, or a recipe file.")],
    out: Annotated[Path | None, Option(help="Where to build. Default: runs/<name of the recipe>.")] = None,
    until: Annotated[str | None, Option(metavar="STAGE", help="Run this stage and what it needs, no more.")] = None,
    assignments: Assignments = [],  # noqa: B006  typer copies it
    cluster: Annotated[bool, Option("--cluster", help="One of several processes; the scheduler says which.")] = False,
    coordinator: Annotated[str | None, Option(metavar="HOST:PORT", help="Process 0, where no scheduler says.")] = None,
    num_processes: Annotated[int | None, Option("--num-processes", help="How many processes build together.")] = None,
    process_id: Annotated[int | None, Option("--process-id", help="Which of them this is, from 0.")] = None,
) -> None:
    """Run a recipe, from raw text to finished bundles. A build that was stopped goes on where it was.

    Several processes (on one machine or many, with --out on a file system that they share) build together: each is
    started with the same command and its own --process-id, or with --cluster under Slurm, GKE, Open MPI, Cloud TPU.

    Exit status 143 says that SIGTERM stopped it after a step of training, which is saved.
    """
    if cluster or (coordinator, num_processes, process_id) != (None, None, None):
        from codling.scale.cluster import Cluster, join

        join(Cluster(coordinator, num_processes, process_id))

    from rich.console import Console

    from codling.artifact.processes import is_lead
    from codling.progress import build_reporter
    from codling.recipes.build import BUNDLES
    from codling.recipes.build import build as build_recipe
    from codling.recipes.registry import load_recipe
    from codling.report.page import REPORT_FILE

    loaded = load_recipe(recipe, assignments)
    directory = out or Path("runs") / loaded.name
    console = Console(highlight=False, quiet=not is_lead())
    # Made before the libraries are held back, so that our own warnings are not.
    warnings = Console(file=sys.stderr, highlight=False)
    with quiet_libraries(), writing_to(directory), build_reporter(console, warnings=warnings) as reporter:
        build_recipe(loaded, directory, until=until, reporter=reporter)
    results = [directory / name for name in (*BUNDLES, REPORT_FILE) if (directory / name).exists()]
    for path in results:
        console.print(f"{path.stem:8} {path}", markup=False, soft_wrap=True)
    if (directory / BUNDLES[-1]).exists():
        console.print(f"next:    codling chat {directory / BUNDLES[-1]}", markup=False, soft_wrap=True)


@recipe_app.command("list")
def recipe_list() -> None:
    """Name the recipes."""
    from codling.recipes.registry import RECIPES

    for name, recipe in RECIPES.items():
        print(f"{name:12} {(recipe.__doc__ or '').partition(chr(10))[0]}")


@recipe_app.command("show", epilog="Example: codling recipe show quickstart > mine.toml, then codling build mine.toml")
def recipe_show(
    name: Annotated[str, Argument(metavar="NAME|FILE.toml")],
    assignments: Assignments = [],  # noqa: B006
) -> None:
    """Write out every value of a recipe, as TOML that `build` reads."""
    from codling.recipes.registry import load_recipe, recipe_toml

    print(recipe_toml(load_recipe(name, assignments)), end="")


@app.command(epilog="Example: codling generate runs/quickstart/device --prompt 'Remind me to call Anna at noon'")
def generate(
    bundle: BundlePath,
    prompt: Annotated[
        str, Option(metavar="TEXT", help="What is said to the model; with --raw, what it writes on from.")
    ],
    adapter: AdapterName = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    seed: Seed = 0,
    raw: Annotated[bool, Option("--raw/--chat", help="Go on with plain text, or answer as the user's turn.")] = False,
    system: SystemText = None,
    tools: ToolsFile = None,
    as_json: AsJson = False,
) -> None:
    """Answer one prompt, or with --raw write on from it. Tool calls come as lines of JSON."""
    from codling.chat.terminal import REASON_NOTES, call_json, stream
    from codling.show import answer_json, show_json

    if raw and (system is not None or tools is not None):
        raise UserError("--raw writes on from plain text; leave out --system and --tools, or --raw")
    _check_utf8("--prompt", prompt)
    session, identity = _open_session(bundle, adapter, system, tools, temperature, top_p, seed, max_tokens)
    pieces = session.continue_text(prompt) if raw else session.ask(prompt)
    if as_json:
        text = "".join(pieces)
    else:
        stream(pieces, _console())
    answer = session.last_answer
    assert answer is not None
    if as_json:
        show_json(answer_json(answer, session, identity, text))
        return
    print()
    for call in answer.turn.tool_calls:
        print(call_json(call))
    for malformed in answer.turn.malformed_calls:
        _complain(f"a tool call that cannot be read ({malformed.problem}): {malformed.text}")
    if answer.finish_reason in REASON_NOTES:
        _complain(REASON_NOTES[answer.finish_reason])


@app.command(epilog="Example: codling chat runs/quickstart/device --temperature 0.7")
def chat(
    bundle: BundlePath,
    adapter: AdapterName = None,
    system: SystemText = None,
    tools: ToolsFile = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    seed: Seed = 0,
) -> None:
    """Talk to a bundle. Shows after each answer how much of the context is used; nothing is ever cut silently."""
    from codling.chat.terminal import run_chat, say

    session, identity = _open_session(bundle, adapter, system, tools, temperature, top_p, seed, max_tokens)
    console = _console()
    say(console, identity, style="bold")
    run_chat(session, console, _typed_line if sys.stdin.isatty() else _piped_line)


@evaluate_app.command(epilog="Example: codling evaluate perplexity runs/quickstart/device --text notes.txt --json")
def perplexity(
    bundle: BundlePath,
    text: Annotated[Path, Option(metavar="FILE", help="UTF-8, one document; .jsonl: one a record, its `text` field.")],
    adapter: AdapterName = None,
    as_json: AsJson = False,
) -> None:
    """Score a text: every token once, from what precedes it in its row.

    Each document begins with its start token and is cut into rows of the model's context length that do not overlap.
    """
    from codling.artifact.bundle import load_bundle
    from codling.evaluate.perplexity import read_text, score_text
    from codling.show import show_json

    documents = read_text(text)
    opened = load_bundle(bundle, adapter)
    score = score_text(opened.model, opened.tokenizer, documents)
    figures = {
        "nll_per_token": score.nll_per_token,
        "bits_per_byte": score.bits_per_byte,
        "perplexity": score.perplexity,
        "tokens": score.tokens,
    }
    if as_json:
        show_json({"model": opened.identity, "text": str(text), **figures})
    else:
        for name, value in figures.items():
            print(f"{name:14} {value:,.4f}" if isinstance(value, float) else f"{name:14} {value:,}")


@app.command(epilog="Example: codling export runs/quickstart/device --to hf --out device-hf")
def export(
    bundle: BundlePath,
    to: Annotated[
        ExportFormat, Option(help="hf: dense float32 in the Hugging Face layout, read by transformers and vLLM.")
    ],
    out: Annotated[Path, Option(metavar="DIR", help="A directory that is not there yet, or empty.")],
    adapter: AdapterName = None,
) -> None:
    """Write a bundle for other libraries, its adapter folded in."""
    from codling.artifact.bundle import export_hf, load_bundle

    opened = load_bundle(bundle, adapter)
    with writing_to(out):
        export_hf(opened, out)
    print(f"{opened.identity} written to {out}")


@app.command(epilog="Example: codling inspect runs/quickstart/device --json")
def inspect(
    artifact: Annotated[Path, Argument(metavar="ARTIFACT", help="Directory of any stage's artifact, or of a bundle.")],
    as_json: AsJson = False,
) -> None:
    """Show what an artifact is and where it came from, and check its files.

    Exit status 1 says that some of them changed or are missing.
    """
    from codling.artifact.describe import describe
    from codling.show import artifact_json, show_artifact, show_json

    description = describe(artifact)
    if as_json:
        show_json(artifact_json(description))
    else:
        show_artifact(description, _console())
    if not description.is_whole:
        raise typer.Exit(EXIT_DAMAGED)


@app.command(epilog="Example: codling plan server_70b --on tpu-v4:8x1024 --search")
def plan(
    what: Annotated[
        str,
        Argument(
            metavar="RECIPE|SIZE",
            help="A size (device_3b, server_70b) on the report's core stage; a recipe's server, or RECIPE:device.",
        ),
    ],
    on: Annotated[
        str,
        Option(
            metavar="MACHINE",
            help="CHIP:CHIPS or CHIP:SLICESxCHIPS, for example tpu-v4:8x1024, tpu-v5p:2048, gpu-h200:64. "
            "Chips, not cores: tpu-v5p:2048 is what Google calls v5p-4096.",
        ),
    ],
    mesh: Annotated[
        str | None, Option(metavar="AXIS=N,...", help="For example data=8,fsdp=256. Default: the fastest that fits.")
    ] = None,
    remat: Annotated[
        str | None,
        Option(
            metavar="nothing|attention|layers",
            help="What the backward pass computes again. Default: whatever is fastest and fits.",
        ),
    ] = None,
    batch_rows: Annotated[int | None, Option("--batch-rows", min=1, help="Rows a step, over all chips.")] = None,
    sequence: Annotated[int | None, Option(min=1, metavar="TOKENS", help="Length of a row.")] = None,
    search: Annotated[bool, Option("--search", help="Show the other layouts too, best first.")] = False,
    thorough: Annotated[
        bool, Option("--thorough", help="Compile at full effort: memory to a percent, in three times the time.")
    ] = False,
    assignments: Assignments = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Compile a training step for a machine that is not there: whether it fits, how fast it can be, what it costs.

    For TPUs (needs the extra `tpu`) the true step is compiled; for GPUs the same figures are counted. The time is a
    roofline, see docs/plan.md.
    """
    from codling.recipes.workload import load_workload, resize
    from codling.scale.layout import parse_mesh, parse_remat
    from codling.scale.machine import parse_machine
    from codling.scale.search import best_plan
    from codling.scale.search import search as search_layouts
    from codling.scale.show_plan import plan_json, show_plan, show_search
    from codling.show import show_json

    machine = parse_machine(on)
    workload = resize(load_workload(what, assignments), batch_rows, sequence)
    plans = search_layouts(workload, machine, parse_mesh(mesh), parse_remat(remat))
    if search and not as_json:
        show_search(plans, _console())
    best = best_plan(plans, is_quick=not thorough)
    if as_json:
        searched = {"layouts": [plan_json(one) for one in plans]} if search else {}
        show_json(plan_json(best) | searched)
    else:
        show_plan(best, _console())


@bench_app.command("plan")
def bench_plan(as_json: AsJson = False) -> None:
    """`codling plan` next to published step times and utilization (needs the extra `tpu`)."""
    from codling.bench.plan import run_plan_bench
    from codling.show import show_figures, show_json

    figures = run_plan_bench(say=lambda line: print(line, file=sys.stderr))
    if as_json:
        show_json({"figures": [figure._asdict() for figure in figures]})
    else:
        show_figures(figures, _console())


@bench_app.command("train")
def bench_train(as_json: AsJson = False) -> None:
    """Training throughput of one model, next to transformers on PyTorch (needs the extra `compare`)."""
    from codling.bench.train import run_train_bench
    from codling.show import show_figures, show_json

    figures = run_train_bench(say=lambda line: print(line, file=sys.stderr))
    if as_json:
        show_json({"figures": [figure._asdict() for figure in figures]})
    else:
        show_figures(figures, _console())


@bench_app.command("rl")
def bench_rl(as_json: AsJson = False) -> None:
    """Throughput of online training, next to TRL's RLOO trainer (needs the extra `compare`)."""
    from codling.bench.rl import run_rl_bench
    from codling.show import show_figures, show_json

    figures = run_rl_bench(say=lambda line: print(line, file=sys.stderr))
    if as_json:
        show_json({"figures": [figure._asdict() for figure in figures]})
    else:
        show_figures(figures, _console())


def _open_session(
    bundle: Path,
    adapter: str | None,
    system: str | None,
    tools: Path | None,
    temperature: float,
    top_p: float,
    seed: int,
    max_tokens: int | None,
) -> "tuple[Session, str]":
    from codling.artifact.bundle import load_bundle
    from codling.chat.session import Session
    from codling.model.generate import Sampling

    definitions = _read_tools(tools)
    _check_utf8("--system", system or "")
    opened = load_bundle(bundle, adapter)
    session = Session(
        opened,
        system=system,
        tools=definitions,
        sampling=Sampling(temperature, top_p),
        seed=seed,
        max_new_tokens=max_tokens,
    )
    return session, opened.identity


def _check_utf8(option: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{option}: not UTF-8; convert it to UTF-8") from None


def _read_tools(path: Path | None) -> list[dict[str, Any]]:
    import json

    from codling.tokenizer.messages import read_tools

    if path is None:
        return []
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(values, list):
        raise UserError(f"{path}: not a JSON list of function definitions")
    return read_tools(values, source=str(path))


def _typed_line(prompt: str) -> str:
    import contextlib

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  gives `input` a history and an editable line
    return input(prompt)


def _piped_line(_: str) -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line


def _console() -> "Console":
    from rich.console import Console

    return Console(highlight=False)


def _complain(message: str) -> None:
    """One line on stderr."""
    print(f"codling: {' '.join(message.splitlines())}", file=sys.stderr)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return the exit status: what is wrong with the input is one line on stderr."""
    try:
        try:
            result = app(args=list(arguments), prog_name="codling", standalone_mode=False)
        finally:
            sys.stdout.flush()
        if result == EXIT_INTERRUPTED:
            _complain("stopped" + ("; the same command goes on where it was" if "build" in arguments[:1] else ""))
        return result if isinstance(result, int) else 0
    except UserError as error:
        _complain(str(error))
    except Terminated as error:
        _complain(str(error))
        return EXIT_TERMINATED
    except BrokenPipeError:
        # Whoever read our output has left; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BAD_INPUT
    except typer.TyperException as error:
        if problem := _usage_problem(error):
            _complain(problem)
    except Exception as error:
        message = refusal(error)
        if message is None:
            raise
        _complain(message)
    return EXIT_BAD_INPUT


def _usage_problem(error: typer.TyperException) -> str:
    """What Typer found wrong with the command line, and where to look it up; empty where it showed the help itself."""
    message = error.format_message().replace("Value error, ", "").rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "codling"
    return f"{message}; see {command} --help" if message else ""


def main() -> None:
    """Entry point of the `codling` command."""
    prepare_host()
    status = run(sys.argv[1:])
    if status == EXIT_BAD_INPUT:
        # Without the exit handlers of libraries: on a full disk each would add a traceback of its own.
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
