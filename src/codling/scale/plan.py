"""A plan: whether a training step fits a machine, how long it takes, and what a whole stage costs."""

from collections.abc import Sequence
from dataclasses import dataclass

from codling.scale.collectives import Collective, Kind, Traffic, by_kind
from codling.scale.compiled import CompiledStep, DoesNotFit, compile_step
from codling.scale.estimate import (
    ChipBytes,
    estimate_bytes,
    estimate_collectives,
    kept_activations_bytes,
    num_held,
    num_used,
)
from codling.scale.layout import Layout, check_layout
from codling.scale.machine import Machine
from codling.scale.roofline import Roofline, memory_traffic_bytes, model_flops, recomputed_flops, roofline
from codling.scale.topology import tpu_devices
from codling.scale.workload import Workload
from codling.train.sharding import build_mesh

DOUBT = 1.05
"""Counted bytes have been within this of the compiler's, where they come near a chip's memory."""
SECONDS_PER_DAY, SECONDS_PER_HOUR = 86_400, 3_600


@dataclass(frozen=True)
class Plan:
    """One workload on one machine, in one layout."""

    workload: Workload
    machine: Machine
    layout: Layout
    chip_bytes: ChipBytes
    collectives: Sequence[Collective]
    terms: Roofline
    compiled: CompiledStep | None
    """None: bytes and exchanges are counted by `scale.estimate`, and not by a compiler."""

    @property
    def fits(self) -> bool:
        """Whether a chip's memory holds it all: a compiler that made a program has said so."""
        return self.compiled is not None or self.chip_bytes.total <= self.machine.usable_bytes

    @property
    def may_fit(self) -> bool:
        """The same with some doubt of our counting, where a compiler can be asked."""
        doubt = DOUBT if self.machine.can_compile else 1.0
        return self.compiled is not None or self.chip_bytes.total <= doubt * self.machine.usable_bytes

    @property
    def traffic(self) -> dict[Kind, Traffic]:
        """Exchanges by kind."""
        return by_kind(self.collectives)

    @property
    def flops_per_chip(self) -> float:
        """Of one step, with what is computed twice."""
        flops = model_flops(self.workload) + recomputed_flops(self.workload, self.layout.remat)
        return flops / self.machine.num_chips

    @property
    def utilization(self) -> float:
        """Share of the machine's peak that the model's own operations make up (MFU)."""
        peak = self.machine.chip.peak_flops_per_s * self.machine.num_chips
        return model_flops(self.workload) / (peak * self.terms.step_s)

    @property
    def tokens_per_day(self) -> float:
        """Without stops."""
        return self.workload.tokens_per_step / self.terms.step_s * SECONDS_PER_DAY

    @property
    def days(self) -> float:
        """For all tokens of the stage, without stops."""
        return self.workload.num_tokens / self.tokens_per_day

    @property
    def chip_hours(self) -> float:
        """For all tokens of the stage."""
        return self.days * SECONDS_PER_DAY / SECONDS_PER_HOUR * self.machine.num_chips


def estimate_plan(workload: Workload, machine: Machine, layout: Layout) -> Plan:
    """By counting alone, in no time."""
    check_layout(workload, machine, layout)
    collectives = estimate_collectives(workload, layout.mesh, layout.remat, machine)
    chip_bytes = estimate_bytes(workload, layout.mesh, layout.remat)
    return _plan(workload, machine, layout, chip_bytes, collectives, None)


def compile_plan(workload: Workload, machine: Machine, layout: Layout, *, is_quick: bool = True) -> Plan:
    """By the compiler. Errors: `UserError` for a layout that does not divide the machine or the model, or no libtpu."""
    check_layout(workload, machine, layout)
    devices = tpu_devices(machine)
    mesh = build_mesh(layout.mesh, devices)
    try:
        compiled = compile_step(workload, mesh, layout.remat, machine.num_slices, is_quick=is_quick)
    except DoesNotFit as refusal:
        estimated = estimate_bytes(workload, layout.mesh, layout.remat)
        counted = estimated.total - estimated.temporary
        needed_bytes = max(refusal.needed_bytes, 1.01 * machine.usable_bytes)
        chip_bytes = estimated._replace(temporary=max(estimated.temporary, needed_bytes - counted))
        collectives = estimate_collectives(workload, layout.mesh, layout.remat, machine)
        return _plan(workload, machine, layout, chip_bytes, collectives, None)
    chip_bytes = _divide(compiled, workload, layout)
    return _plan(workload, machine, layout, chip_bytes, compiled.collectives, compiled)


def _divide(compiled: CompiledStep, workload: Workload, layout: Layout) -> ChipBytes:
    """The compiler's two figures by kind: what a kind takes is known from its shapes, the rest is temporary."""
    counted = estimate_bytes(workload, layout.mesh, layout.remat)
    parameters = compiled.argument_bytes * counted.parameters / (counted.parameters + counted.optimizer)
    during = compiled.temporary_bytes + compiled.program_bytes
    gradients = min(counted.gradients, during)
    activations = min(kept_activations_bytes(workload, layout.mesh, layout.remat), during - gradients)
    optimizer = compiled.argument_bytes - parameters
    return ChipBytes(parameters, optimizer, gradients, activations, during - gradients - activations)


def _plan(
    workload: Workload,
    machine: Machine,
    layout: Layout,
    chip_bytes: ChipBytes,
    collectives: Sequence[Collective],
    compiled: CompiledStep | None,
) -> Plan:
    held, used = num_held(workload, layout.mesh), num_used(workload, layout.mesh)
    moved = memory_traffic_bytes(workload, machine.num_chips, held, used, layout.remat)
    terms = roofline(workload, machine, layout.remat, moved, collectives)
    return Plan(workload, machine, layout, chip_bytes, tuple(collectives), terms, compiled)
