"""Who takes part in an exchange: the three ways in which XLA writes groups of devices."""

import re
from collections.abc import Sequence
from math import prod

import numpy as np

EXPLICIT = re.compile(r"replica_groups=\{(\{[\d,{} ]*\})?\}")
IOTA = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
MESH = re.compile(r"replica_groups=@?mesh\[([^\]]*)\](?:, device_ids=(\([^{]*\)))? ?\{([^}]*)\}")
AXIS = re.compile(r"'?([\w.]+)'?=(\d+)")
PART = re.compile(r"'?([\w.]+)'?(?::\((\d+)\)(\d+))?$")
PAIRS = re.compile(r"source_target_pairs=\{(\{[\d,{}]*\})\}")

Groups = tuple[tuple[int, ...], ...]


def read_groups(attributes: str, num_devices: int) -> Groups:
    """The groups of an instruction; all devices where it names none. Errors: `ValueError` for an unknown notation."""
    if match := EXPLICIT.search(attributes):
        groups = re.findall(r"\{([\d, ]*)\}", match[1] or "")
        return tuple(_numbers(group) for group in groups) or (tuple(range(num_devices)),)
    if match := IOTA.search(attributes):
        devices = _iota(_numbers(match[2]), _numbers(match[3] or ""))
        return tuple(tuple(row) for row in devices.reshape(_numbers(match[1])).tolist())
    if match := MESH.search(attributes):
        return _mesh_groups(match[1], match[2] or "", match[3])
    if "replica_groups=" in attributes:
        raise ValueError(
            f"unknown notation of device groups: {attributes[attributes.index('replica_groups=') :][:120]}"
        )
    return (tuple(range(num_devices)),)


def read_pairs(attributes: str) -> Groups:
    """Sender and receiver of every copy of a collective-permute, without those that stay where they are."""
    match = PAIRS.search(attributes)
    pairs = re.findall(r"\{(\d+),(\d+)\}", match[1]) if match else []
    return tuple((int(source), int(target)) for source, target in pairs if source != target)


def _mesh_groups(axes: str, order: str, named: str) -> Groups:
    """`mesh['a'=2,'b'=4] {'b'}`: one group along the named axes for every place on the others.

    An axis may be taken in part: `'b':(2)2` is its second factor of two.
    """
    sizes = {name: int(size) for name, size in AXIS.findall(axes)}
    match = re.match(r"\(\[([\d,]+)\](?:T\(([\d,]+)\))?\)", order)
    if order and match is None:
        raise ValueError(f"unknown order of devices: {order[:120]}")
    whole = np.arange(prod(sizes.values()))
    devices = whole if match is None else _iota(_numbers(match[1]), _numbers(match[2] or ""))
    shape: list[int] = []
    taken: list[int] = []
    wanted = [_part(part) for part in named.split(",") if part.strip()]
    for name, size in sizes.items():
        cuts = sorted((before, count) for part, before, count in wanted if part == name and count)
        is_whole = any(part == name and not count for part, _, count in wanted)
        done = 1
        for before, count in [(1, size)] if is_whole else cuts:
            shape += [before // done, count]
            taken.append(len(shape) - 1)
            done = before * count
        shape.append(size // done)
    kept = [index for index in range(len(shape)) if index not in taken]
    grid = devices.reshape(shape).transpose(*kept, *taken)
    group_size = prod(shape[index] for index in taken)
    return tuple(tuple(row) for row in grid.reshape(-1, group_size).tolist())


def _part(text: str) -> tuple[str, int, int]:
    match = PART.match(text.strip())
    if match is None:
        raise ValueError(f"unknown axis of devices: {text}")
    return match[1], int(match[2] or 1), int(match[3] or 0)


def _iota(shape: Sequence[int], order: Sequence[int]) -> np.ndarray:
    devices = np.arange(prod(shape)).reshape(tuple(shape))
    return (devices.transpose(tuple(order)) if order else devices).reshape(-1)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))
