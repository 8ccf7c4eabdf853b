"""One undisturbed build of the tiny recipe, which the tests of this folder share."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[2] / ".cache" / "jax"


def environment() -> dict[str, str]:
    """What a build runs under: compiled programs are kept between the builds of a test run."""
    return os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(CACHE),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PLATFORMS": "cpu",
    }


def command(out: Path, *more: str) -> list[str]:
    """The build command of the tiny recipe."""
    return [sys.executable, "-m", "codling", "build", "tiny", "--out", str(out), *more]


def result_hashes(out: Path) -> dict[str, dict[str, str]]:
    """Stage -> hashes of its result files, for the stages whose files do not hold wall times."""
    manifests = [json.loads(path.read_text()) for path in sorted((out / "stages").glob("*/manifest.json"))]
    return {manifest["stage"]: manifest["files_sha256"] for manifest in manifests if manifest["stage"] != "report"}


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the build lies."""
    out = tmp_path_factory.mktemp("undisturbed") / "tiny"
    done = subprocess.run(command(out), env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out
