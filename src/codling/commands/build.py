"""`codling build`: run a recipe."""

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from codling.commands.options import Assignments
from codling.disk import quiet_libraries, writing_to


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
