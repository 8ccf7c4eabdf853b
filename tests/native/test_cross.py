"""The NEON kernels, compiled for 64-bit ARM and compared with the plain loops by an emulated processor."""

from pathlib import Path

import pytest

from tests.engine.test_models import CONFIGS, write_model
from tests.native.programs import ROOT, build, find_tool, run

pytestmark = pytest.mark.slow

LIBRARIES = "/usr/aarch64-linux-gnu"
PROCESSORS = {
    "max": ["scalar", "neon", "neon_i8mm"],
    # With the dot product, without matrix products.
    "neoverse-n1": ["scalar", "neon"],
    "cortex-a53": ["scalar"],
}
"""Emulated processors and the sets that run on them."""


@pytest.fixture(scope="module")
def programs() -> Path:
    find_tool("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu")
    find_tool("qemu-aarch64", "qemu-user")
    toolchain = ROOT / "native" / "cmake" / "aarch64-linux-gnu.cmake"
    return build("aarch64", f"-DCMAKE_TOOLCHAIN_FILE={toolchain}")


def emulator(processor: str) -> list[str]:
    return [find_tool("qemu-aarch64", "qemu-user"), "-cpu", processor, "-L", LIBRARIES]


@pytest.mark.parametrize("processor", PROCESSORS)
def test_every_set_gives_what_the_plain_loops_give(programs: Path, processor: str) -> None:
    said = run([*emulator(processor), programs / "kernel_check"]).splitlines()
    assert said == [f"{name}: ok" for name in PROCESSORS[processor]]


def test_models_run_the_same_however_they_are_run(programs: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", CONFIGS["one key head"], "4 bits")
    assert run([*emulator("max"), programs / "model_check", model]) == "models: ok\n"
