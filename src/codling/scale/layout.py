"""How a step is laid on a machine: what a plan is asked for, or looks for itself."""

import re
from typing import NamedTuple

from codling.errors import UserError
from codling.model.execution import Remat
from codling.scale.machine import Machine
from codling.scale.workload import Workload
from codling.train.sharding import MeshConfig, abstract_mesh, check_fit


class Layout(NamedTuple):
    """Mesh and rematerialization."""

    mesh: MeshConfig
    remat: Remat


def parse_mesh(text: str | None) -> MeshConfig | None:
    """Read `data=8,fsdp=256`; axes that are left out are 1. Errors: `UserError` with the form and the axes."""
    if text is None:
        return None
    sizes: dict[str, int] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\w+)=(\d+)\s*", part)
        if match is None or match[1] not in MeshConfig().sizes or match[1] in sizes or int(match[2]) == 0:
            axes = ", ".join(MeshConfig().sizes)
            raise UserError(f"mesh '{text}': write it as data=8,fsdp=256, with sizes from 1 on; axes are {axes}")
        sizes[match[1]] = int(match[2])
    return MeshConfig(**sizes)


def parse_remat(text: str | None) -> Remat | None:
    """Read a policy's name. Errors: `UserError` with the names."""
    if text is not None and text not in list(Remat):
        raise UserError(f"unknown rematerialization '{text}' (known: {', '.join(Remat)})")
    return None if text is None else Remat(text)


def check_layout(workload: Workload, machine: Machine, layout: Layout) -> None:
    """Errors: `UserError` where the mesh does not divide the machine, its slices, the model or the batch."""
    mesh = layout.mesh
    abstract = abstract_mesh(mesh, machine.num_chips)
    check_fit(abstract, workload.model, workload.batch_size_rows, workload.sequence_length_tokens)
    if machine.can_compile and mesh.data % machine.num_slices:
        raise UserError(
            f"mesh: data {mesh.data} is not a multiple of the {machine.num_slices} slices; only data goes between them"
        )
