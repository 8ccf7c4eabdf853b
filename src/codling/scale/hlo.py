"""The exchanges between chips in the text of a compiled program (XLA's HLO).

The text is a list of computations. From the entry, every computation that an instruction calls is walked through;
the body of a loop counts as often as the loop runs. Within one stretch of straight program an exchange counts once for
its channel: TPU programs write an asynchronous exchange several times, as its start, beside what runs meanwhile, and
as its end. Both branches of a conditional count.

Between slices a TPU program has no collectives: a chip sends its part to its host (`_xla_megascale_*`), which goes over
the data-center network. Groups are then numbered within a slice.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from codling.scale.collectives import Collective, Kind
from codling.scale.replica_groups import Groups, read_groups, read_pairs

COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$")
OPERATION = re.compile(r"^([\w\-]+)\((.*)$")
ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
CALLED = re.compile(r"(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)")
BRANCHES = re.compile(r"(?:branch_computations|called_computations)=\{([^}]*)\}")
TRIP_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
CONSTANT = re.compile(r"\bs32\[\]\S* constant\((\d+)\)")
CHANNEL = re.compile(r"channel_id=(\d+)")
SOURCE = re.compile(r'op_name="([^"]*)"')
MEGASCALE = re.compile(r'_xla_megascale_transfer_type="(\w+)"')
BITS = {"pred": 8, "bf16": 16}


class Instruction(NamedTuple):
    """One line: `name = shape operation(operands), attributes`."""

    name: str
    shape: str
    operation: str
    rest: str


Program = dict[str, list[Instruction]]


def read_collectives(text: str, num_devices: int, num_slices: int = 1) -> list[Collective]:
    """Every exchange of one run of the program, as often as it happens.

    num_devices counts all slices together. Errors: `ValueError` where the text has no entry computation, or groups in
    a notation that is not known.
    """
    program, entry = _read_program(text)
    reader = _Reader(program, num_devices, num_slices)
    return list(reader.stretch(entry, 1))


class _Reader:
    """Walks a program from its entry."""

    def __init__(self, program: Program, num_devices: int, num_slices: int) -> None:
        self._program = program
        self._num_devices, self._num_slices = num_devices, num_slices

    def stretch(self, name: str, times: int) -> Iterator[Collective]:
        """A computation that runs `times` times, with all that it calls."""
        # By channel, then by computation: of one exchange written in several places, one place counts.
        found: dict[str, dict[str, list[Collective]]] = {}
        for computation, instruction in self._straight(name, set()):
            if instruction.operation == "while":
                body = re.search(r"body=%?([\w.\-]+)", instruction.rest)
                assert body is not None
                yield from self.stretch(body[1], times * self._trip_count(instruction))
                continue
            collective = self._collective(instruction, computation, times)
            if collective is not None:
                channel = CHANNEL.search(instruction.rest)
                key = f"{collective.kind} {channel[1] if channel else instruction.name}"
                found.setdefault(key, {}).setdefault(computation, []).append(collective)
        for places in found.values():
            yield from max(places.values(), key=len)

    def _straight(self, name: str, seen: set[str]) -> Iterator[tuple[str, Instruction]]:
        """Instructions of a computation and of those it calls, loops themselves but not their bodies; each once."""
        if name in seen:
            return
        seen.add(name)
        for instruction in self._program.get(name, []):
            yield name, instruction
            if instruction.operation != "while":
                for called in _called(instruction.rest):
                    yield from self._straight(called, seen)

    def _collective(self, instruction: Instruction, computation: str, times: int) -> Collective | None:
        source = SOURCE.search(instruction.rest)
        where = source[1] if source else computation
        if transfer := MEGASCALE.search(instruction.rest):
            if instruction.operation != "send":
                return None
            kind = Kind.PERMUTE if transfer[1] == "ONE_TO_ONE" else Kind(transfer[1].lower().replace("_", "-"))
            whole = self._num_slices if kind is Kind.ALL_GATHER else 1
            size = _size_bytes(_parts(instruction.shape)[0]) * whole
            return Collective(kind, size, (0,), self._num_slices, times, where)
        name = instruction.operation.removesuffix("-start")
        if name not in Kind._value2member_map_:
            return None
        kind = Kind(name)
        parts = _parts(instruction.shape)
        is_pair = instruction.operation.endswith("-start") and kind in (Kind.ALL_GATHER, Kind.PERMUTE)
        size = _size_bytes(parts[1] if is_pair else instruction.shape)
        groups = read_pairs(instruction.rest) if kind is Kind.PERMUTE else None
        if groups is None:
            groups = read_groups(instruction.rest, self._num_devices)
        group, num_slices = self._largest(groups)
        if len(group) * num_slices == 1:
            return None
        if kind is Kind.REDUCE_SCATTER:
            size *= len(group) * num_slices
        elif kind is Kind.ALL_REDUCE and self._is_scattered(instruction, computation):
            kind = Kind.REDUCE_SCATTER
        return Collective(kind, size, group, num_slices, times, where)

    def _largest(self, groups: Groups) -> tuple[tuple[int, ...], int]:
        """Of the largest group, the part in one slice, and how many slices it spans."""
        largest = sorted(groups or ((0,),), key=len)[-1]
        slices: dict[int, list[int]] = {}
        for device in largest:
            slices.setdefault(device * self._num_slices // self._num_devices, []).append(device)
        return tuple(sorted(slices.values(), key=len)[-1]), len(slices)

    def _is_scattered(self, reduced: Instruction, computation: str) -> bool:
        """Whether an all-reduce is half of a fused reduce-scatter: all that is made of its result is a slice."""
        if "all-reduce-scatter" in computation:
            return True
        users = [
            user
            for user in self._program[computation]
            if re.search(rf"%{re.escape(reduced.name)}(?![\w.\-])", user.rest)
        ]
        return bool(users) and all(user.operation == "dynamic-slice" for user in users)

    def _trip_count(self, loop: Instruction) -> int:
        """As the compiler knows it, or else the one constant that the loop's condition compares with; or else one."""
        if known := TRIP_COUNT.search(loop.rest):
            return int(known[1])
        condition = re.search(r"condition=%?([\w.\-]+)", loop.rest)
        lines = self._program.get(condition[1], []) if condition else []
        limits = [
            match[1] for line in lines if (match := CONSTANT.search(f"{line.shape} {line.operation}({line.rest}"))
        ]
        return int(limits[0]) if len(limits) == 1 else 1


def _read_program(text: str) -> tuple[Program, str]:
    program: Program = {}
    entry, name = "", ""
    for line in text.splitlines():
        if head := COMPUTATION.match(line):
            name = head[2]
            program[name] = []
            entry = name if head[1] else entry
        elif match := INSTRUCTION.match(line):
            shape, operation = _split_shape(match[2])
            if found := OPERATION.match(operation):
                program[name].append(Instruction(match[1], shape, found[1], found[2]))
    if not entry:
        raise ValueError("no entry computation in the program's text")
    return program, entry


def _split_shape(text: str) -> tuple[str, str]:
    """`shape operation(...)` in two; the shape of a tuple is in parentheses, which nest."""
    if not text.startswith("("):
        shape, _, rest = text.partition(" ")
        return shape, rest
    depth = 0
    for index, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return text[: index + 1], text[index + 2 :]
    return text, ""


def _called(rest: str) -> list[str]:
    names = CALLED.findall(rest)
    for group in BRANCHES.findall(rest):
        names += [name.strip().lstrip("%") for name in group.split(",")]
    return names


def _parts(shape: str) -> list[str]:
    """The members of a tuple; of anything else, itself."""
    if not shape.startswith("("):
        return [shape]
    parts, depth, start = [], 0, 1
    for index, character in enumerate(shape):
        if character == "," and depth == 1:
            parts.append(shape[start:index])
            start = index + 1
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(character, 0)
    return [*parts, shape[start:-1]]


def _size_bytes(shape: str) -> int:
    """Of all arrays in a shape; layouts (`{1,0:T(8,128)}`) and comments are passed over."""
    total = 0
    for kind, dimensions in ARRAY.findall(re.sub(r"/\*.*?\*/", "", shape)):
        size = BITS.get(kind) or int((re.search(r"\d+", kind) or ["0"])[0])
        for dimension in _numbers(dimensions):
            size *= dimension
        total += (size + 7) // 8
    return total


def _numbers(text: str) -> Sequence[int]:
    return [int(number) for number in text.split(",") if number]
