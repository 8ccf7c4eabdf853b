"""The filter, run by an interpreter of a dozen lines, and its table against the system's own."""

import re
import struct
from pathlib import Path

import pytest

from codling.rewards.syscall_filter import ALLOW, ARCHITECTURES, CLONE_THREAD, FORBIDDEN, KILL_PROCESS, filter_program

OWN = 77
EPERM, ENOSYS = 0x00050001, 0x00050026
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def decide(program: bytes, architecture: int, number: int, argument: int = 0) -> int:
    """Classic BPF, as far as the filter uses it."""
    data = {0: number, 4: architecture, 16: argument}
    steps = [struct.unpack("=HBBI", program[place : place + 8]) for place in range(0, len(program), 8)]
    at, loaded = 0, 0
    while True:
        operation, if_true, if_false, value = steps[at]
        if operation == 0x06:
            return int(value)
        if operation == 0x20:
            loaded, at = data[value], at + 1
            continue
        holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[operation]
        at += 1 + (if_true if holds else if_false)


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_decisions(machine: str) -> None:
    program, here = filter_program(machine, OWN), ARCHITECTURES[machine]
    column = list(ARCHITECTURES).index(machine)
    for name, numbers in FORBIDDEN.items():
        if (number := numbers[column]) is not None:
            assert decide(program, here, number) == EPERM, name
    clone, kill, tgkill, prlimit, read = {
        "x86_64": (56, 62, 234, 302, 0),
        "aarch64": (220, 129, 131, 261, 63),
    }[machine]
    assert decide(program, here, read) == ALLOW
    assert decide(program, here, 435) == ENOSYS
    assert decide(program, here, read | 0x40000000) == EPERM
    assert decide(program, 0x40000003, read) == KILL_PROCESS
    assert decide(program, here, clone, CLONE_THREAD | 0x100) == ALLOW
    assert decide(program, here, clone, 17) == EPERM
    for number in (kill, tgkill):
        assert decide(program, here, number, OWN) == ALLOW
        assert decide(program, here, number, 1) == decide(program, here, number, 2**32 - 1) == EPERM
    assert decide(program, here, kill, 0) == EPERM
    assert [decide(program, here, prlimit, pid) for pid in (0, OWN, 1)] == [ALLOW, ALLOW, EPERM]


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_numbers_are_those_of_the_kernel(machine: str) -> None:
    if not HEADERS[machine].is_file():
        pytest.skip("the kernel's headers are not installed")
    text = HEADERS[machine].read_text(encoding="utf-8")
    listed = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    column = list(ARCHITECTURES).index(machine)
    for name, numbers in FORBIDDEN.items():
        # Older headers do not know the newest calls.
        if name in listed:
            assert numbers[column] == listed[name], name


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(OSError, match="'abacus'"):
        filter_program("abacus", OWN)
