import pytest

from codling.errors import UserError
from codling.scale.machine import CHIPS, parse_machine


@pytest.mark.parametrize(
    ("text", "slices", "shape"),
    [
        ("tpu-v4:8x1024", 8, (8, 8, 16)),
        ("tpu-v5p:2048", 1, (8, 16, 16)),
        ("tpu-v5p:512", 1, (8, 8, 8)),
        ("tpu-v5p:6144", 1, (16, 16, 24)),
        ("tpu-v4:4", 1, (2, 2, 1)),
        ("tpu-v4:32", 1, (2, 4, 4)),
        ("tpu-v5e:2x256", 2, (16, 16)),
        ("tpu-v6e:32", 1, (4, 8)),
        ("gpu-h200:64", 8, (8,)),
        ("gpu-h100:4x8", 4, (8,)),
        ("gpu-h100:4", 1, (4,)),
    ],
)
def test_names(text: str, slices: int, shape: tuple[int, ...]) -> None:
    machine = parse_machine(text)
    assert (machine.num_slices, machine.slice_shape) == (slices, shape)
    assert machine.num_chips == slices * machine.chips_per_slice


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tpu-v9:8", "unknown machine 'tpu-v9' \\(known: tpu-v4, tpu-v5p"),
        ("8x1024", "unknown machine"),
        ("tpu-v4", "write it as tpu-v4:CHIPS or tpu-v4:SLICESxCHIPS"),
        ("tpu-v4:8x", "write it as"),
        ("tpu-v4:0", "write it as"),
        ("tpu-v5e:512", "at most 256 chips; several are tpu-v5e:2x256"),
        ("tpu-v4:6", "no slice of tpu-v4 has 6 chips"),
        ("tpu-v5e:48", "no slice of tpu-v5e has 48 chips"),
        ("gpu-h100:12", "servers of 8"),
    ],
)
def test_a_machine_that_is_none_is_named(text: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        parse_machine(text)


def test_rings_close_in_cubes_and_along_full_sides() -> None:
    assert parse_machine("tpu-v4:64").is_closed == (True, True, True)
    assert parse_machine("tpu-v4:32").is_closed == (False, False, False)
    assert parse_machine("tpu-v5e:128").is_closed == (False, True)


def test_only_tpus_can_be_compiled_for() -> None:
    assert {name for name in CHIPS if parse_machine(f"{name}:8").can_compile} == {
        name for name in CHIPS if name.startswith("tpu")
    }
