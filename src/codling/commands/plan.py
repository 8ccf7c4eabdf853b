"""`codling plan`: a training step on a machine that is not there."""

from typing import Annotated

from typer import Argument, Option

from codling.commands.options import AsJson, Assignments
from codling.commands.terminal import open_console, show_json


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

    machine = parse_machine(on)
    workload = resize(load_workload(what, assignments), batch_rows, sequence)
    plans = search_layouts(workload, machine, parse_mesh(mesh), parse_remat(remat))
    if search and not as_json:
        show_search(plans, open_console())
    best = best_plan(plans, is_quick=not thorough)
    if as_json:
        searched = {"layouts": [plan_json(one) for one in plans]} if search else {}
        show_json(plan_json(best) | searched)
    else:
        show_plan(best, open_console())
