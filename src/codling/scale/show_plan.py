"""A plan for people, and for programs."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from codling.scale.machine import GIB
from codling.scale.plan import Plan
from codling.scale.roofline import EFFICIENCY
from codling.train.sharding import MeshConfig

MAX_ROWS = 20
"""Of the table of layouts."""
GB = 1e9


def plan_json(plan: Plan) -> dict[str, Any]:
    """Every figure of a plan; bytes and seconds, unrounded."""
    workload, machine, compiled = plan.workload, plan.machine, plan.compiled
    return {
        "workload": {
            "name": workload.name,
            "batch_size_rows": workload.batch_size_rows,
            "sequence_length_tokens": workload.sequence_length_tokens,
            "num_tokens": workload.num_tokens,
        },
        "machine": {"name": machine.name, "num_chips": machine.num_chips, "num_slices": machine.num_slices},
        "mesh": plan.layout.mesh.sizes,
        "remat": plan.layout.remat.value,
        "fits": plan.fits,
        "chip_bytes": plan.chip_bytes._asdict() | {"total": plan.chip_bytes.total},
        "chip_memory_bytes": machine.chip.memory_bytes,
        "usable_bytes": machine.usable_bytes,
        "collectives": {kind.value: traffic._asdict() for kind, traffic in plan.traffic.items()},
        "flops_per_chip": plan.flops_per_chip,
        "efficiency": EFFICIENCY,
        "terms": plan.terms._asdict(),
        "binding": plan.terms.binding,
        "step_s": plan.terms.step_s,
        "overlapped_step_s": plan.terms.overlapped_s,
        "utilization": plan.utilization,
        "tokens_per_day": plan.tokens_per_day,
        "days": plan.days,
        "chip_hours": plan.chip_hours,
        "is_compiled": compiled is not None,
        "compile_s": None if compiled is None else compiled.compile_s,
        "peak_host_bytes": None if compiled is None else compiled.peak_host_bytes,
    }


def show_plan(plan: Plan, console: Console) -> None:
    """The plan as tables."""
    workload, machine = plan.workload, plan.machine
    console.print(Text(f"{workload.name} on {machine.name}", style="bold"))
    for table in (_what(plan), _bytes(plan), _traffic(plan), _time(plan)):
        console.print(table)
        console.print()


def show_search(plans: Sequence[Plan], console: Console) -> None:
    """The layouts that were looked at, best first."""
    columns = ("mesh", "remat", "GiB", "fits", "step s", "utilization", "binds")
    table = Table(*columns, box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.columns[0].no_wrap = True
    for plan in plans[:MAX_ROWS]:
        total = f"{plan.chip_bytes.total / GIB:,.1f}"
        figures = (f"{plan.terms.step_s:.3g}", f"{plan.utilization:.0%}", plan.terms.binding)
        table.add_row(_mesh(plan.layout.mesh), plan.layout.remat.value, total, _fits(plan), *figures)
    console.print(table)
    more = f"; {len(plans) - MAX_ROWS} more" if len(plans) > MAX_ROWS else ""
    console.print(Text(f"{len(plans)} layouts, counted and not compiled, best first{more}", style="dim"))
    console.print()


def _what(plan: Plan) -> Table:
    table = _rows()
    workload, machine = plan.workload, plan.machine
    slices = "" if machine.num_slices == 1 else f"{machine.num_slices} slices of "
    shape = " x ".join(str(side) for side in machine.slice_shape)
    tokens = f"{workload.tokens_per_step:,} tokens a step"
    rows = f"{workload.batch_size_rows:,} rows of {workload.sequence_length_tokens:,}"
    table.add_row("machine", f"{machine.num_chips:,} chips: {slices}{shape}")
    table.add_row("batch", f"{rows}, {tokens}")
    table.add_row("layout", f"mesh {_mesh(plan.layout.mesh)}; computed again: {plan.layout.remat.value}")
    if plan.compiled is None:
        table.add_row("by", "counting; nothing was compiled")
    else:
        host = f"{plan.compiled.compile_s:.0f} s, {plan.compiled.peak_host_bytes / GIB:.1f} GiB of this machine"
        table.add_row("by", f"the compiled step ({host})")
    return table


def _bytes(plan: Plan) -> Table:
    table = Table("a chip holds", "GiB", box=None, pad_edge=False, header_style="dim")
    table.columns[1].justify = "right"
    for name, size in plan.chip_bytes._asdict().items():
        table.add_row(name, f"{size / GIB:,.2f}")
    limit, said = plan.machine.usable_bytes / GIB, ", says the compiler" if plan.compiled else ""
    verdict = Text(f"fits{said}", style="green") if plan.fits else Text("does not fit", style="bold red")
    table.add_row("all", f"{plan.chip_bytes.total / GIB:,.2f}", Text.assemble(f"of {limit:,.1f}: ", verdict))
    return table


def _traffic(plan: Plan) -> Table:
    columns = ("a chip sends in a step", "times", "GB, fast links", "GB, between slices")
    table = Table(*columns, box=None, pad_edge=False, header_style="dim")
    for column in table.columns[1:]:
        column.justify = "right"
    for kind, traffic in plan.traffic.items():
        fast, slow = traffic.fast_bytes / GB, traffic.slow_bytes / GB
        table.add_row(kind.value, f"{traffic.times:,}", f"{fast:,.2f}", f"{slow:,.3f}")
    return table


def _time(plan: Plan) -> Table:
    terms, workload = plan.terms, plan.workload
    table = _rows()
    operations = f"{plan.flops_per_chip / 1e12:,.1f} TFLOP a chip at {EFFICIENCY:.0%} of its peak"
    network = f"fast links {_seconds(terms.fast_network_s)}, between slices {_seconds(terms.slow_network_s)}"
    table.add_row("compute", _seconds(terms.compute_s), operations)
    table.add_row("memory", _seconds(terms.memory_s), "parameters, optimizer, activations read and written")
    table.add_row("network", _seconds(terms.network_s), network)
    table.add_row("step", _seconds(terms.step_s), f"their sum, nothing overlapped; {terms.binding} binds")
    table.add_row("at best", _seconds(terms.overlapped_s), "if all were overlapped: the largest of them")
    table.add_row("utilization", f"{plan.utilization:.1%}", "of the machine's peak, by the model's own operations")
    table.add_row("tokens a day", f"{plan.tokens_per_day:.3g}", "")
    table.add_row("days", f"{plan.days:,.1f}", f"for {workload.num_tokens:.3g} tokens, without stops")
    table.add_row("chip-hours", f"{plan.chip_hours:,.0f}", "")
    return table


def _rows() -> Table:
    return Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))


def _mesh(mesh: MeshConfig) -> str:
    """As `--mesh` takes it."""
    return ",".join(f"{axis}={size}" for axis, size in mesh.sizes.items() if size > 1) or "data=1"


def _seconds(value: float) -> str:
    return f"{value:.3f} s" if value >= 1e-3 else f"{value * 1e3:.3f} ms"


def _fits(plan: Plan) -> Text:
    if plan.fits:
        return Text("yes", style="green")
    return Text("perhaps", style="yellow") if plan.may_fit else Text("no", style="red")
