"""Two processes of four devices each, started as the documentation says, train like one process with one device."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BUILD = [sys.executable, "-m", "codling", "build", "tiny", "--until", "server_core"]
BATCH = ["--set", "server_core.loop.batch_size_rows=8", "--set", "server_model.num_kv_heads=2"]
MESH = [part for axis in ("data", "fsdp", "tensor") for part in ("--set", f"server_core.loop.mesh.{axis}=2")]
CACHE = {
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(Path(__file__).parents[2] / ".cache" / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
}


def start(out: Path, num_devices: int, *options: str) -> subprocess.Popen[str]:
    environment = os.environ | CACHE | {"JAX_NUM_CPU_DEVICES": str(num_devices)}
    command = [*BUILD, *BATCH, "--out", str(out), *options]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def losses(out: Path) -> list[float]:
    [path] = out.glob("stages/server_core-*/metrics.jsonl")
    return [json.loads(line)["loss"] for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_build_together_what_one_builds_alone(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--coordinator", f"127.0.0.1:{port}", "--num-processes", "2"]
    both = [start(tmp_path / "two", 4, *MESH, *options, "--process-id", str(number)) for number in range(2)]
    alone = start(tmp_path / "one", 1)
    for process in (*both, alone):
        output, _ = process.communicate(timeout=900)
        assert process.returncode == 0, output
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-5)
