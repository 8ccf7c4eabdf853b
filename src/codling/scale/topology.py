"""The devices of a TPU machine that is not there, for compiling ahead of time, and how they are joined."""

import importlib.util
import os
from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import jax
from jax.experimental.topologies import get_topology_desc

from codling.errors import UserError
from codling.scale.machine import Machine
from codling.scale.quiet import quiet_stderr

QUIET = {"TPU_SKIP_MDS_QUERY": "1", "TPU_STDERR_LOG_LEVEL": "3", "TPU_MIN_LOG_LEVEL": "3", "TF_CPP_MIN_LOG_LEVEL": "3"}
"""libtpu asks the network what machine it is on, and says on stderr that it is on none."""

HOST_SIDE = 2
"""A host has a square of chips."""
Coordinates = tuple[int, ...]


def tpu_devices(machine: Machine) -> list[jax.Device]:
    """One device a chip, slice after slice, and within a slice host after host. Errors: `UserError` without libtpu."""
    if importlib.util.find_spec("libtpu") is None:
        raise UserError("compiling for TPUs needs libtpu: pip install 'codling[tpu]'")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    jax.config.update("jax_platforms", "cpu")  # type: ignore[no-untyped-call]  # libtpu is here to compile, not to run
    shape = "x".join(str(side) for side in machine.slice_shape)
    options: dict[str, Any] = {"num_slices": machine.num_slices} if machine.num_slices > 1 else {}
    if machine.chip.torus_axes == 3:
        # Both cores of a chip as one device, as training uses them.
        options |= {"chip_config_name": "megacore", "chips_per_host_bounds": (2, 2, 1), "wrap": machine.is_closed}
    with quiet_stderr():
        devices = get_topology_desc(f"{machine.chip.topology}:{shape}", platform="tpu", **options).devices
    return list(devices)


def coordinates_of(machine: Machine) -> list[Coordinates]:
    """Where the chips of one slice are in its torus, in the order of devices: hosts of 2 x 2 chips, x first."""
    x_side, y_side, *rest = *machine.slice_shape, 1
    places = product(range(prod(rest)), range(0, y_side, HOST_SIDE), range(0, x_side, HOST_SIDE))
    in_host = [*product(range(min(HOST_SIDE, y_side)), range(min(HOST_SIDE, x_side)))]
    return [(x + dx, y + dy, z)[: len(machine.slice_shape)] for z, y, x in places for dy, dx in in_host]


def links_of_group(machine: Machine, places: Sequence[Coordinates]) -> float:
    """Links over which a chip sends to the others of its group at once.

    Along each axis that the group spans: two where it closes into a ring, one on an open line; and where the group
    takes every second or fourth chip only, the links are shared with the groups of the chips between.
    """
    if not machine.chip.torus_axes:
        return 1.0
    links = 0.0
    for axis, (side, is_closed) in enumerate(zip(machine.slice_shape, machine.is_closed, strict=True)):
        values = sorted({place[axis] for place in places})
        if len(values) == 1:
            continue
        stride = (values[-1] - values[0]) / (len(values) - 1)
        is_ring = is_closed and len(values) * stride == side
        links += (2.0 if is_ring else 1.0) / stride
    return links or 1.0
