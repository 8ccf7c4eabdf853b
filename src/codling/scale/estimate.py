"""What a step holds and exchanges, by counting: for machines that no compiler here knows, and to search quickly.

Follows what the compiler makes of `train.step` (`tests/scale/test_estimate.py` holds the two together): layer by layer
weights are gathered over `fsdp` forward and backward and their gradients scattered; between layers tokens are gathered
and scattered over `tensor`; what `data` repeats is summed at the end of each layer's backward pass.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from codling.model.count import count_parameters
from codling.model.execution import Remat
from codling.model.partition import DATA, FSDP, MESH_AXES, SEQUENCE, TENSOR
from codling.scale.collectives import Collective, Kind
from codling.scale.machine import Machine
from codling.scale.workload import Workload
from codling.train.objective import ACCELERATOR_CHUNK_LENGTH_TOKENS
from codling.train.sharding import MeshConfig

SINGLE, HALF = 4, 2
"""Bytes of a float32 and of a bfloat16."""
LANES = 128
"""Values side by side in a TPU's register."""


class ChipBytes(NamedTuple):
    """What one chip holds."""

    parameters: float
    optimizer: float
    gradients: float
    activations: float
    """Kept from the forward pass for the backward pass."""
    temporary: float
    """All the rest."""

    @property
    def total(self) -> float:
        """At once."""
        return sum(self)


def num_held(workload: Workload, mesh: MeshConfig) -> float:
    """Parameters that a chip keeps, with their moments."""
    return count_parameters(workload.model).total / (mesh.fsdp * mesh.tensor)


def num_used(workload: Workload, mesh: MeshConfig) -> float:
    """Weights that a chip multiplies with."""
    return count_parameters(workload.model).total / mesh.tensor


def kept_activations_bytes(workload: Workload, mesh: MeshConfig, remat: Remat) -> float:
    """What the forward pass leaves for the backward pass, on one chip."""
    model = workload.model
    query_dim, kv_dim = model.num_query_heads * model.head_dim, model.num_kv_heads * model.head_dim
    projections = query_dim + 2 * kv_dim + 2 * model.model_dim + 2 * model.ffn_dim
    # Without recomputation: inputs and outputs of the norms, part of them float32, heads before and after rotation,
    # attended values, and what SwiGLU is made of. As XLA keeps them: counted from a compiled step, not derived.
    between = 12 * model.model_dim + 4 * (query_dim + kv_dim) + 2 * query_dim + 4 * model.ffn_dim
    values = model.model_dim
    values += {Remat.LAYERS: 0, Remat.ATTENTION: projections, Remat.NOTHING: projections + between}[remat]
    return workload.tokens_per_step / _num_chips(mesh) * model.num_layers * values * HALF


def estimate_bytes(workload: Workload, mesh: MeshConfig, remat: Remat) -> ChipBytes:
    """What a chip holds at the fullest moment."""
    model, held = workload.model, num_held(workload, mesh)
    tokens = workload.tokens_per_step / (mesh.data * mesh.fsdp * mesh.sequence)
    layer = count_parameters(model).non_embedding / model.num_layers / mesh.tensor
    embedding = count_parameters(model).embedding / mesh.tensor
    logits = min(tokens, ACCELERATOR_CHUNK_LENGTH_TOKENS) * model.vocab_size / mesh.tensor
    in_layer = tokens * (4 * model.model_dim + 6 * model.ffn_dim / mesh.tensor) * HALF
    gathered = 0.0 if mesh.fsdp == 1 else 2 * layer * HALF
    head = logits * (SINGLE + SINGLE + HALF) + embedding * (SINGLE + HALF)
    return ChipBytes(
        held * SINGLE,
        held * 2 * SINGLE,
        held * SINGLE,
        kept_activations_bytes(workload, mesh, remat),
        held * HALF + max(in_layer + gathered, head),
    )


def estimate_collectives(workload: Workload, mesh: MeshConfig, remat: Remat, machine: Machine) -> list[Collective]:
    """What a chip exchanges in one step."""
    return [one for one in _collectives(workload, mesh, remat, machine) if len(one.group) * one.num_slices > 1]


def _collectives(workload: Workload, mesh: MeshConfig, remat: Remat, machine: Machine) -> Iterator[Collective]:
    model, layers = workload.model, workload.model.num_layers
    count = count_parameters(model)
    group = {axis: _group(mesh, axis, machine) for axis in MESH_AXES}
    if mesh.fsdp == mesh.tensor == mesh.sequence == 1:
        yield Collective(Kind.ALL_REDUCE, count.total * SINGLE, *group[DATA], 1, "gradients")
        return
    weights = int(count.non_embedding / layers / mesh.tensor) * HALF
    embedding = count.embedding // mesh.tensor * HALF
    # A part narrower than the lanes of a TPU's registers is not scattered: the whole gradient is summed everywhere.
    is_narrow = bool(machine.chip.torus_axes) and model.model_dim // mesh.fsdp < LANES
    scattered = Kind.ALL_REDUCE if is_narrow else Kind.REDUCE_SCATTER
    passes = 3 if remat is Remat.LAYERS else 2
    yield Collective(Kind.ALL_GATHER, weights, *group[FSDP], 2 * layers, "weights of a layer")
    yield Collective(scattered, weights, *group[FSDP], layers, "gradients of a layer")
    yield Collective(Kind.ALL_GATHER, embedding, *group[FSDP], 1, "embedding")
    yield Collective(Kind.REDUCE_SCATTER, embedding, *group[FSDP], 2, "gradient of the embedding")
    yield Collective(Kind.ALL_REDUCE, weights // mesh.fsdp, *group[DATA], layers, "gradients of a layer")
    yield Collective(Kind.ALL_REDUCE, embedding // mesh.fsdp, *group[DATA], 2, "gradient of the embedding")
    tokens = workload.tokens_per_step // (mesh.data * mesh.fsdp * mesh.sequence)
    stream = tokens * model.model_dim * HALF
    yield Collective(Kind.ALL_GATHER, stream, *group[TENSOR], 2 * passes * layers, "tokens of a layer")
    yield Collective(Kind.REDUCE_SCATTER, stream, *group[TENSOR], (2 + passes) * layers - layers, "outputs of a layer")
    yield Collective(Kind.ALL_REDUCE, stream, *group[TENSOR], 1, "head")
    kv = tokens * mesh.sequence * 2 * model.num_kv_heads // mesh.tensor * model.head_dim * HALF
    yield Collective(Kind.ALL_GATHER, kv, *group[SEQUENCE], passes * layers, "keys and values")
    yield Collective(Kind.REDUCE_SCATTER, kv, *group[SEQUENCE], layers, "gradients of keys and values")


def _group(mesh: MeshConfig, axis: str, machine: Machine) -> tuple[tuple[int, ...], int]:
    """The chips of the first group along an axis: those in one slice, and the number of slices."""
    sizes = mesh.sizes
    places = np.arange(_num_chips(mesh)).reshape([*sizes.values()])
    line = np.moveaxis(places, list(sizes).index(axis), 0).reshape(sizes[axis], -1)[:, 0]
    slices = sorted({int(place) // machine.chips_per_slice for place in line})
    return tuple(int(place) for place in line if place // machine.chips_per_slice == slices[0]), len(slices)


def _num_chips(mesh: MeshConfig) -> int:
    return int(np.prod([*mesh.sizes.values()]))
