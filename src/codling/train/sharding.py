"""Which device holds what: rows of a batch are split over the `data` axis, all else is on every device.

On a CPU each core is a device of its own (`codling.cli` asks for that before JAX starts): splitting the batch
by hand keeps a core's share in its own cache and is faster than one program whose every operation is spread
over all cores.
"""

from typing import TypeVar

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from codling.errors import UserError

DATA_AXIS = "data"

T = TypeVar("T")


def data_mesh(batch_size_rows: int) -> Mesh:
    """All local devices, or as many of them as divide the batch."""
    devices = jax.devices()
    if batch_size_rows <= 0:
        raise UserError(f"batch_size_rows must be positive, got {batch_size_rows}")
    num_devices = next(count for count in range(len(devices), 0, -1) if batch_size_rows % count == 0)
    return jax.make_mesh((num_devices,), (DATA_AXIS,), axis_types=(AxisType.Auto,), devices=devices[:num_devices])


def split_rows(tree: T, mesh: Mesh) -> T:
    """Put arrays [B, ...] on the devices, B split over them."""
    return _put(tree, mesh, PartitionSpec(DATA_AXIS))  # type: ignore[no-untyped-call]


def replicate(tree: T, mesh: Mesh) -> T:
    """Put a copy of every array on every device."""
    return _put(tree, mesh, PartitionSpec())  # type: ignore[no-untyped-call]


def _put(tree: T, mesh: Mesh, spec: PartitionSpec) -> T:
    placed: T = jax.device_put(tree, NamedSharding(mesh, spec))
    return placed
