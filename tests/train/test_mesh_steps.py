"""The same recipe gives the same losses on any mesh: one device, and eight under different layouts."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("mesh_steps.py")
CACHE = Path(__file__).parents[2] / ".cache" / "jax"
ALL_AT_ONCE = {"fsdp": 2, "tensor": 2, "sequence": 2}
OTHERS = [{"data": 8}, {"data": 2, "fsdp": 4}, {"fsdp": 4, "tensor": 2}, {"data": 2, "sequence": 4}]


def run(*meshes: dict[str, int]) -> list[Any]:
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "8",
        "JAX_COMPILATION_CACHE_DIR": str(CACHE),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    }
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(json.dumps, meshes)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_same(one: Any, other: Any) -> None:
    assert one["losses"][0] > one["losses"][-1]
    for name in one:
        np.testing.assert_allclose(other[name], one[name], rtol=2e-4, err_msg=name)


def test_eight_devices_that_split_rows_parameters_heads_and_tokens_train_like_one() -> None:
    one, other = run({}, ALL_AT_ONCE)
    assert_same(one, other)


@pytest.mark.slow
def test_four_more_meshes_train_like_one_device() -> None:
    one, *others = run({}, *OTHERS)
    for other in others:
        assert_same(one, other)
