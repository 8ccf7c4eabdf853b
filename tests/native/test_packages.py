"""What people install from: the source package, wheels, and the message where no compiler is."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.native.programs import ROOT, find_tool, run

AARCH64_MACHINE = 183
"""In the header of an ELF file (e_machine)."""


def tracked(*folders: str) -> set[str]:
    done = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_source_package_has_all_sources(tmp_path: Path) -> None:
    probe = "import sys; from scikit_build_core.build import build_sdist; build_sdist(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", probe, tmp_path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (package,) = tmp_path.glob("codling-*.tar.gz")
    with tarfile.open(package) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert not tracked("native", "src", "tests", "pyproject.toml", "Makefile") - names
    assert not {name for name in names if name.startswith((".cache", "build")) or name.endswith((".so", ".o"))}


def test_without_a_compiler_the_installation_says_what_to_install(tmp_path: Path) -> None:
    cmake, ninja = find_tool("cmake", "cmake"), find_tool("ninja", "ninja-build")
    command = [cmake, "-S", str(ROOT / "native"), "-B", str(tmp_path), "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    environment = os.environ | {"CXX": "/nowhere/g++"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode != 0
    said = " ".join(done.stderr.split())
    assert "no C++ compiler was found" in said
    assert "apt install g++" in said


def test_no_file_is_compiled_for_the_machine_that_compiles() -> None:
    for path in ROOT.joinpath("native").rglob("CMakeLists.txt"):
        assert "march=native" not in path.read_text()


@pytest.mark.slow
def test_a_wheel_for_64_bit_arm(tmp_path: Path) -> None:
    find_tool("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu")
    version = f"{sys.version_info[0]}{sys.version_info[1]}"
    suffix = f".cpython-{version}-aarch64-linux-gnu.so"
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "_PYTHON_HOST_PLATFORM": "linux-aarch64",
        "SETUPTOOLS_EXT_SUFFIX": suffix,
        "CMAKE_TOOLCHAIN_FILE": str(ROOT / "native" / "cmake" / "aarch64-linux-gnu.cmake"),
    }
    probe = "import sys; from scikit_build_core.build import build_wheel; build_wheel(sys.argv[1])"
    run([sys.executable, "-c", f"import os; os.chdir({str(ROOT)!r}); {probe}", tmp_path], environment)
    (wheel,) = tmp_path.glob("codling-*.whl")
    assert wheel.name.endswith(f"-cp{version}-cp{version}-linux_aarch64.whl")
    with zipfile.ZipFile(wheel) as archive:
        (module,) = (name for name in archive.namelist() if name.endswith(".so"))
        header = archive.read(module)[:20]
    assert module == f"codling/engine/_native{suffix}"
    assert header[:4] == b"\x7fELF"
    assert int.from_bytes(header[18:20], "little") == AARCH64_MACHINE
