"""The machines that a plan can be made for, with every number of theirs, and how they are named.

`tpu-v4:8x1024` is 8 slices of 1024 chips, `tpu-v5p:2048` one slice of 2048 chips (Google's own name "v5p-4096" counts
cores, two a chip), `gpu-h200:64` 64 GPUs in servers of eight. Links within a slice or a server are the fast ones; the
data-center network, or InfiniBand, joins slices or servers.
"""

import re
from collections.abc import Iterator
from math import prod
from typing import NamedTuple

from codling.errors import UserError

GIB = 2**30


class Chip(NamedTuple):
    """What one chip can do at most, in one direction where there are two."""

    peak_flops_per_s: float
    """Dense matrix products in bfloat16."""
    memory_bytes: int
    memory_bytes_per_s: float
    link_bytes_per_s: float
    """One link of the torus, or all that a GPU sends over NVLink."""
    network_bytes_per_s: float
    """A chip's share of the network that joins slices."""
    max_slice_chips: int
    """Largest slice that can be asked for, or the GPUs of a server."""
    torus_axes: int
    """Dimensions of the torus; none: every chip of a slice reaches every other at full speed."""
    topology: str = ""
    """What libtpu calls it."""


CHIPS: dict[str, Chip] = {
    # cloud.google.com/tpu/docs/v4: 275 TFLOP/s, 32 GiB, 1,228 GB/s, 3D torus. Links of all TPUs: "How to Scale Your
    # Model" (jax-ml.github.io/scaling-book/tpus), one way, as measured; so is the network of v4: 6.25 GB/s a chip.
    "tpu-v4": Chip(275e12, 32 * GIB, 1.228e12, 45e9, 6.25e9, 4096, 3, "v4"),
    # cloud.google.com/tpu/docs/v5p: 459 TFLOP/s, 95 GiB, 2,765 GB/s, 3D torus, network 50 Gbit/s a chip.
    "tpu-v5p": Chip(459e12, 95 * GIB, 2.765e12, 90e9, 6.25e9, 6144, 3, "v5"),
    # cloud.google.com/tpu/docs/v5e: 197 TFLOP/s, 16 GB, 819 GB/s, 2D torus, network 6.4 Tbit/s a pod of 256.
    "tpu-v5e": Chip(197e12, 16 * GIB, 0.819e12, 45e9, 3.125e9, 256, 2, "v5e"),
    # cloud.google.com/tpu/docs/v6e: 918 TFLOP/s, 32 GB, 1,638 GB/s, 2D torus; network: the scaling book, 12.5 GB/s.
    "tpu-v6e": Chip(918e12, 32 * GIB, 1.638e12, 90e9, 12.5e9, 256, 2, "v6e"),
    # nvidia.com/h100, SXM: 989 TFLOP/s dense, 80 GB, 3.35 TB/s, NVLink 900 GB/s both ways. DGX H100: one 400 Gbit/s
    # InfiniBand port a GPU.
    "gpu-h100": Chip(989e12, 80 * 10**9, 3.35e12, 450e9, 50e9, 8, 0),
    # nvidia.com/h200: as H100 with 141 GB at 4.8 TB/s.
    "gpu-h200": Chip(989e12, 141 * 10**9, 4.8e12, 450e9, 50e9, 8, 0),
}
USABLE_MEMORY = 30.75 / 32
"""The runtime keeps the rest: XLA's own words when it refuses a program for v4; taken for all."""
CUBE_CHIPS, CUBE_SIDE = 64, 4
"""3D tori are built of cubes of 4 x 4 x 4, joined and closed by optical switches (arXiv 2304.01433)."""
CLOSED_SIDE_2D = 16
"""A 2D torus is closed along its full sides only (the scaling book)."""

SMALL_SLICES: dict[int, dict[int, tuple[int, ...]]] = {
    2: {4: (2, 2), 8: (2, 4), 16: (4, 4), 32: (4, 8), 64: (8, 8), 128: (8, 16), 256: (16, 16)},
    3: {4: (2, 2, 1), 8: (2, 2, 2), 16: (2, 2, 4), 32: (2, 4, 4)},
}
"""The tables of cloud.google.com/tpu/docs, by axes and chips."""


class Machine(NamedTuple):
    """A number of equal slices."""

    name: str
    chip: Chip
    num_slices: int
    slice_shape: tuple[int, ...]
    """The slice's torus, x first."""

    @property
    def chips_per_slice(self) -> int:
        """Chips that fast links join."""
        return prod(self.slice_shape)

    @property
    def num_chips(self) -> int:
        """Of all slices."""
        return self.num_slices * self.chips_per_slice

    @property
    def is_closed(self) -> tuple[bool, ...]:
        """For each axis of the slice, whether its ends are joined."""
        if self.chip.torus_axes == 3:
            return (self.chips_per_slice >= CUBE_CHIPS,) * 3
        return tuple(side == CLOSED_SIDE_2D for side in self.slice_shape)

    @property
    def usable_bytes(self) -> float:
        """Memory of a chip that a program can have."""
        return USABLE_MEMORY * self.chip.memory_bytes

    @property
    def can_compile(self) -> bool:
        """Whether a program can be compiled for it ahead of time, without having one."""
        return bool(self.chip.topology)


def parse_machine(text: str) -> Machine:
    """Read `CHIP:CHIPS` or `CHIP:SLICESxCHIPS`. Errors: `UserError` with what is known or would do."""
    name, _, counts = text.partition(":")
    if name not in CHIPS:
        raise UserError(f"unknown machine '{name}' (known: {', '.join(CHIPS)}; for example tpu-v4:8x1024)")
    match = re.fullmatch(r"(?:(\d+)x)?(\d+)", counts)
    if match is None or "0" in (match[1], match[2]):
        raise UserError(f"machine '{text}': write it as {name}:CHIPS or {name}:SLICESxCHIPS, for example {name}:2x8")
    chip, num_slices, chips = CHIPS[name], int(match[1] or 1), int(match[2])
    if not chip.torus_axes:
        chips *= num_slices
        per_server = min(chips, chip.max_slice_chips)
        if chips % per_server:
            raise UserError(
                f"machine '{text}': {name} comes in servers of {per_server}, {chips} GPUs are not whole ones"
            )
        return Machine(text, chip, chips // per_server, (per_server,))
    if chips > chip.max_slice_chips:
        slices = f"{name}:{-(-chips // chip.max_slice_chips)}x{chip.max_slice_chips}"
        raise UserError(f"machine '{text}': a slice has at most {chip.max_slice_chips} chips; several are {slices}")
    shapes = list(_tori(chips, chip.torus_axes))
    if not shapes:
        raise UserError(f"machine '{text}': no slice of {name} has {chips} chips; a power of two from 4 on does")
    return Machine(text, chip, num_slices, min(shapes, key=sum))


def _tori(chips: int, axes: int) -> Iterator[tuple[int, ...]]:
    """Shapes of a slice: the small ones that are sold, and whatever can be built of cubes, sides rising."""
    if shape := SMALL_SLICES[axes].get(chips):
        yield shape
    if axes == 3 and chips >= CUBE_CHIPS:
        sides = [side for side in range(CUBE_SIDE, chips + 1, CUBE_SIDE) if chips % side == 0]
        for first in sides:
            for second in (side for side in sides if side >= first):
                third = chips // (first * second)
                if third in sides and third >= second and first * second * third == chips:
                    yield first, second, third
