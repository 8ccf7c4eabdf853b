"""The command line: the only place that parses one. Every command and its example, and how errors leave the process."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer import Option

from codling.commands import adapters, artifacts, bench, build, compress, evaluate, plan, recipe, talk
from codling.commands.terminal import complain
from codling.disk import refusal
from codling.errors import Terminated, UserError
from codling.train.host import prepare_host, restart_with_large_pages

EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_TERMINATED = 2, 130, 143
RESUMABLE = (["build"], ["compress"], ["recover"], ["adapt"])
"""Commands that go on where they were when they are given again."""
LONG = (*RESUMABLE, *(["bench", name] for name in ("plan", "train", "rl", "compress")))
"""Commands that compute for so long that starting once more is worth it; not the engine's bench, which has no more
than other programs have."""

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

app.command(epilog="Example: codling build quickstart --set server_core.loop.num_steps=500")(build.build)
app.command(epilog="Example: codling generate runs/quickstart/device --prompt 'Remind me to call Anna at noon'")(
    talk.generate
)
app.command(epilog="Example: codling chat runs/quickstart/device --temperature 0.7")(talk.chat)
app.command(epilog="Example: codling compress runs/quickstart/server --bits 3.7 --calibration notes.txt --out small")(
    compress.compress
)
app.command(epilog="Example: codling recover small --teacher runs/quickstart/server --text notes.txt --out recovered")(
    adapters.recover
)
app.command(epilog="Example: codling adapt runs/quickstart/device --demonstrations calls.jsonl --out calls-adapter")(
    adapters.adapt
)
app.command(epilog="Example: codling export runs/quickstart/device --to hf --out device-hf")(artifacts.export)
app.command("import", epilog="Example: codling import Qwen3-0.6B --out qwen3")(artifacts.import_)
app.command(epilog="Example: codling inspect runs/quickstart/device --json")(artifacts.inspect)
app.command(epilog="Example: codling plan server_70b --on tpu-v4:8x1024 --search")(plan.plan)
recipe_app.command("list")(recipe.list_recipes)
recipe_app.command("show", epilog="Example: codling recipe show quickstart > mine.toml, then codling build mine.toml")(
    recipe.show
)
evaluate_app.command(epilog="Example: codling evaluate perplexity runs/quickstart/device --text notes.txt --json")(
    evaluate.perplexity
)
bench_app.command("plan")(bench.bench_plan)
bench_app.command("train")(bench.bench_train)
bench_app.command("rl")(bench.bench_rl)
bench_app.command(
    "compress",
    epilog="Example: codling bench compress runs/compress/bundle --calibration runs/compress/calibration.jsonl "
    "--heldout runs/compress/heldout.jsonl --out runs/compress/small --peer nearest",
)(bench.bench_compress)
bench_app.command(
    "engine", epilog="Example: codling bench engine --out runs/engine --peer llama.cpp --small runs/quickstart/device"
)(bench.bench_engine)


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, Option("--version", help="Show the version and leave.")] = False) -> None:
    if version:
        from importlib.metadata import version as version_of

        print(f"codling {version_of('codling')}")
        raise typer.Exit


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return the exit status: what is wrong with the input is one line on stderr."""
    try:
        try:
            result = app(args=list(arguments), prog_name="codling", standalone_mode=False)
        finally:
            sys.stdout.flush()
        if result == EXIT_INTERRUPTED:
            complain(
                "stopped" + ("; the same command goes on where it was" if list(arguments[:1]) in RESUMABLE else "")
            )
        return result if isinstance(result, int) else 0
    except UserError as error:
        complain(str(error))
    except Terminated as error:
        complain(str(error))
        return EXIT_TERMINATED
    except BrokenPipeError:
        # Whoever read our output has left; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BAD_INPUT
    except typer.TyperException as error:
        if problem := _usage_problem(error):
            complain(problem)
    except Exception as error:
        message = refusal(error)
        if message is None:
            raise
        complain(message)
    return EXIT_BAD_INPUT


def _usage_problem(error: typer.TyperException) -> str:
    """What Typer found wrong with the command line, and where to look it up; empty where it showed the help itself."""
    message = error.format_message().replace("Value error, ", "").rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "codling"
    return f"{message}; see {command} --help" if message else ""


def main() -> None:
    """Entry point of the `codling` command."""
    if any(sys.argv[1 : 1 + len(command)] == command for command in LONG):
        restart_with_large_pages()
    prepare_host()
    status = run(sys.argv[1:])
    if status == EXIT_BAD_INPUT:
        # Without the exit handlers of libraries: on a full disk each would add a traceback of its own.
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
