"""Meshes of devices, and how parameters and batches are laid on them.

Two ways to run a step. By hand, where only rows are split: every device has all parameters and runs the whole program
on its rows. That is the default on one machine; on a CPU each core is a device (`train.host`), and keeping a core's
share in its own cache is faster than one program whose every operation is spread over all cores. By the compiler, where
parameters, heads or tokens are split too: `model.partition` has the one table of what goes where.
"""

from collections.abc import Callable
from math import prod
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from codling.config import config
from codling.errors import UserError
from codling.model.config import ModelConfig
from codling.model.partition import DATA, FSDP, MESH_AXES, SEQUENCE, TENSOR, Partition

T = TypeVar("T")

DIMENSIONS: dict[str, tuple[str, str]] = {
    "embedding": ("vocab", "model"),
    "query.weight": ("heads", "model"),
    "key.weight": ("kv_heads", "model"),
    "value.weight": ("kv_heads", "model"),
    "output.weight": ("model", "heads"),
    "gate.weight": ("ffn", "model"),
    "up.weight": ("ffn", "model"),
    "down.weight": ("model", "ffn"),
}
"""The last two dimensions of a parameter, by the end of its path; all other parameters are small, and whole."""


@config
class MeshConfig:
    """How many devices split what; the product is the number of devices."""

    data: int = 1
    """Rows, between slices joined by a data-center network."""
    fsdp: int = 1
    """Rows and parameters."""
    tensor: int = 1
    """Heads, FFN units, vocabulary."""
    sequence: int = 1
    """Tokens of a row."""

    @property
    def sizes(self) -> dict[str, int]:
        """By axis, in the order of the mesh."""
        return {DATA: self.data, FSDP: self.fsdp, SEQUENCE: self.sequence, TENSOR: self.tensor}


def build_mesh(config: MeshConfig, devices: list[jax.Device] | None = None) -> Mesh:
    """The devices as a mesh of all four axes; `data` goes between slices where there are several.

    Errors: `UserError` where the product of the sizes is not the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = abstract_mesh(config, len(devices)).axis_sizes
    # Devices come ordered by slice and process: the first axis goes over the slowest links.
    return Mesh(np.array(devices).reshape(sizes), MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES))


def abstract_mesh(config: MeshConfig, num_devices: int) -> AbstractMesh:
    """The same without devices. Errors: as `build_mesh`."""
    sizes = config.sizes
    if min(sizes.values()) < 1 or prod(sizes.values()) != num_devices:
        shown = " x ".join(f"{axis} {size}" for axis, size in sizes.items())
        raise UserError(
            f"mesh {shown} is {prod(sizes.values())} devices, the machine has {num_devices}; "
            f"sizes whose product is {num_devices} would do"
        )
    return AbstractMesh(tuple(sizes.values()), MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES))


def data_mesh(batch_size_rows: int) -> Mesh:
    """All devices, or on one machine as many of them as divide the batch, each with all parameters."""
    devices = jax.devices()
    if batch_size_rows <= 0:
        raise UserError(f"batch_size_rows must be positive, got {batch_size_rows}")
    num_devices = next(count for count in range(len(devices), 0, -1) if batch_size_rows % count == 0)
    if jax.process_count() > 1 and num_devices < len(devices):
        raise UserError(f"batch_size_rows {batch_size_rows} does not divide over {len(devices)} devices")
    return build_mesh(MeshConfig(data=num_devices), devices[:num_devices])


def local_mesh(num_rows: int) -> Mesh:
    """As many of this process's devices as divide the rows: for what each process computes by itself."""
    devices = jax.local_devices()
    num_devices = next(count for count in range(len(devices), 0, -1) if num_rows % count == 0)
    return build_mesh(MeshConfig(data=num_devices), devices[:num_devices])


def local_copies(tree: T, mesh: Mesh) -> T:
    """A copy of every array on each device of a `local_mesh`."""
    copies: T = jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))  # type: ignore[no-untyped-call]
    return copies


def by_rows(function: Callable[..., T], mesh: Mesh) -> Callable[..., T]:
    """`function(copied, *rows)` on every device by itself, with all of `copied` and its own rows of the rest.

    For a mesh that splits rows only, and to be called in a compiled program. What comes back is split by rows too.
    """
    split, everywhere = PartitionSpec(DATA), PartitionSpec()  # type: ignore[no-untyped-call]

    def run(copied: PyTree, *rows: PyTree) -> T:
        found: T = jax.shard_map(
            function,
            mesh=mesh,
            in_specs=(everywhere, *(split for _ in rows)),
            out_specs=split,
            check_vma=False,  # the custom gradient of the blocks has not the annotations that the check wants
        )(copied, *rows)
        return found

    return run


def splits_rows_only(mesh: Mesh) -> bool:
    """Whether every device has all parameters and whole rows."""
    return all(mesh.shape[axis] == 1 for axis in (FSDP, SEQUENCE, TENSOR))


def check_fit(mesh: Mesh | AbstractMesh, model: ModelConfig, batch_size_rows: int, sequence_length_tokens: int) -> None:
    """Raise `UserError` where the mesh does not divide the model or the batch: which dimension, and what would."""
    partition = Partition(mesh)
    sizes = {
        ("batch_size_rows", "rows"): batch_size_rows,
        ("sequence_length_tokens", "tokens_between_layers"): sequence_length_tokens,
        ("model_dim", "model"): model.model_dim,
        ("num_query_heads", "heads"): model.num_query_heads,
        ("num_kv_heads", "kv_heads"): model.num_kv_heads,
        ("ffn_dim", "ffn"): model.ffn_dim,
        ("vocab_size", "vocab"): model.vocab_size,
    }
    for (name, dimension), size in sizes.items():
        parts = partition.num_parts(dimension)
        if size % parts:
            axes = " x ".join(partition.axes(dimension))
            divisors = ", ".join(str(part) for part in range(1, mesh.size + 1) if size % part == 0)
            raise UserError(f"mesh: {axes} = {parts} does not divide {name} {size}; sizes that would: {divisors}")


def shardings_of(tree: PyTree, partition: Partition) -> PyTree:
    """How parameters, or whatever is shaped and named like them (moments, gradients), lie on the mesh."""

    def of_leaf(path: tuple[object, ...], leaf: jax.Array | jax.ShapeDtypeStruct) -> NamedSharding:
        name = jax.tree_util.keystr(path).replace(".base.", ".")  # an adapter's base lies like the layer itself
        for ending, dimensions in DIMENSIONS.items():
            if name.endswith(ending) and leaf.ndim >= len(dimensions):
                stacked = (None,) * (leaf.ndim - len(dimensions))
                return partition.sharding(*stacked, *dimensions)
        return partition.sharding()

    return jax.tree_util.tree_map_with_path(of_leaf, tree)


def place(tree: T, mesh: Mesh) -> T:
    """Lay parameters, or a training state, on the mesh: split by the table, or a copy on every device."""
    if splits_rows_only(mesh):
        return replicate(tree, mesh)
    return _put(tree, shardings_of(tree, Partition(mesh)))


def place_rows(tree: T, mesh: Mesh, batch_size_rows: int) -> T:
    """Lay arrays [B, T] and [B] on the mesh, rows and tokens split; B is this process's `local_rows` of the batch."""
    by_ndim = {1: Partition(mesh).sharding("rows"), 2: Partition(mesh).sharding("rows", "tokens")}
    if jax.process_count() == 1:
        return _put(tree, jax.tree.map(lambda leaf: by_ndim[leaf.ndim], tree))
    first = local_rows(mesh, batch_size_rows).start

    def put(leaf: np.ndarray) -> jax.Array:
        def part(index: Any) -> np.ndarray:
            rows, *others = index
            start, stop, _ = rows.indices(batch_size_rows)
            return leaf[(slice(start - first, stop - first), *others)]

        return jax.make_array_from_callback((batch_size_rows, *leaf.shape[1:]), by_ndim[leaf.ndim], part)

    placed: T = jax.tree.map(put, tree)
    return placed


def local_rows(mesh: Mesh, batch_size_rows: int) -> slice:
    """The rows of a batch that lie on this process's devices, from the first to the last of them."""
    indices = Partition(mesh).sharding("rows").addressable_devices_indices_map((batch_size_rows,))
    ranges = [index[0].indices(batch_size_rows) for index in indices.values() if index is not None]
    return slice(min(start for start, _, _ in ranges), max(stop for _, stop, _ in ranges))


def replicate(tree: T, mesh: Mesh) -> T:
    """Put a copy of every array on every device."""
    whole = NamedSharding(mesh, PartitionSpec())  # type: ignore[no-untyped-call]
    return _put(tree, jax.tree.map(lambda _: whole, tree))


def gather(tree: T) -> T:
    """Whole copies of every array on this process's first device."""
    if jax.process_count() > 1:
        tree = multihost_utils.process_allgather(tree, tiled=True)
    gathered: T = jax.device_put(tree, jax.local_devices()[0])
    return gathered


def _put(tree: T, shardings: PyTree) -> T:
    if jax.process_count() == 1:
        placed: T = jax.device_put(tree, shardings)
        return placed

    def put(leaf: jax.Array, sharding: NamedSharding) -> jax.Array:
        # Every process has the whole array; each device takes its part.
        whole = np.asarray(leaf)
        return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])

    placed = jax.tree.map(put, tree, shardings)
    return placed
