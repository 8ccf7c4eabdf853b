"""The layouts that a machine and a model allow, by how fast a step they promise."""

from collections.abc import Iterator, Sequence

from codling.errors import UserError
from codling.model.execution import Remat
from codling.scale.layout import Layout
from codling.scale.machine import Machine
from codling.scale.plan import Plan, compile_plan, estimate_plan
from codling.scale.workload import Workload
from codling.train.sharding import MeshConfig

MAX_TENSOR = 16
"""Beyond a few hosts, exchanges within every layer cost more than they save."""

MAX_COMPILED = 3
"""Each takes a minute; a layout that only just fits by counting may not by the compiler."""


def search(
    workload: Workload, machine: Machine, mesh: MeshConfig | None = None, remat: Remat | None = None
) -> list[Plan]:
    """Plans of all layouts that divide model and machine, counted and not compiled: what fits first, fastest first.

    A given mesh or rematerialization stays as it is. Errors: `UserError` where no layout divides them.
    """
    plans, refusal = [], UserError("no layout")
    for candidate in [mesh] if mesh is not None else _meshes(machine):
        for policy in [remat] if remat is not None else Remat:
            try:
                plans.append(estimate_plan(workload, machine, Layout(candidate, policy)))
            except UserError as error:
                refusal = error
    if not plans:
        raise refusal
    return sorted(plans, key=_rank)


def best_plan(plans: Sequence[Plan], *, is_quick: bool) -> Plan:
    """The first plan that fits by the compiler's word too, or the last one tried; for GPUs, the first."""
    best = plans[0]
    if not best.machine.can_compile:
        return best
    for candidate in plans[:MAX_COMPILED]:
        best = compile_plan(candidate.workload, candidate.machine, candidate.layout, is_quick=is_quick)
        if best.fits:
            break
    return best


def _rank(plan: Plan) -> tuple[bool, float]:
    return not plan.may_fit, plan.terms.step_s if plan.may_fit else plan.chip_bytes.total


def _meshes(machine: Machine) -> Iterator[MeshConfig]:
    """All ways to write the machine as data x fsdp x tensor."""
    for tensor in _divisors(machine.num_chips):
        if tensor <= min(MAX_TENSOR, machine.chips_per_slice):
            for fsdp in _divisors(machine.num_chips // tensor):
                yield MeshConfig(data=machine.num_chips // (tensor * fsdp), fsdp=fsdp, tensor=tensor)


def _divisors(number: int) -> Sequence[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
