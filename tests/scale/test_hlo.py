import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from codling.scale.collectives import Kind
from codling.scale.hlo import read_collectives

WRITTEN = Path(__file__).with_name("written.hlo").read_text(encoding="utf-8")
"""By hand: each form that a TPU program has, once."""

REAL = """
import json, sys
import jax, jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from codling.scale.hlo import read_collectives

mesh = Mesh(jax.devices(), ("x",))
def layer(x, w):
    w = jax.lax.with_sharding_constraint(w, NamedSharding(mesh, P(None, None)))
    return jnp.tanh(x @ w), None
def run(x, ws):
    y, _ = jax.lax.scan(layer, x, ws)
    return jnp.sum(y)
shapes = [
    jax.ShapeDtypeStruct((16, 32), jnp.float32, sharding=NamedSharding(mesh, P("x", None))),
    jax.ShapeDtypeStruct((7, 32, 32), jnp.float32, sharding=NamedSharding(mesh, P(None, "x", None))),
]
text = jax.jit(run).lower(*shapes).compile().as_text()
found = read_collectives(text, 8)
print(json.dumps([(one.kind, one.size_bytes, len(one.group), one.num_slices, one.times) for one in found]))
split = read_collectives(text, 8, num_slices=2)
print(json.dumps([(one.kind, len(one.group), one.num_slices) for one in split]))
"""


def test_each_exchange_is_found_as_often_as_it_happens() -> None:
    found = [
        (one.kind.value, one.size_bytes, len(one.group), one.num_slices, one.times)
        for one in read_collectives(WRITTEN, 16, num_slices=2)
    ]
    assert sorted(found) == [
        ("all-gather", 8 * 8 * 2, 4, 1, 26),  # twice in the loop's body, for one channel
        ("all-reduce", 4 * 8 * 2, 1, 2, 1),  # sent to the host, and from there to the other slice
        ("all-reduce", 16 * 4, 8, 1, 1),  # in one branch
        ("collective-permute", 16 * 4, 2, 1, 5),  # its loop's condition says how often
        ("reduce-scatter", 64 * 4, 4, 1, 26),  # an all-reduce of which a slice is kept
    ]


def test_it_says_where_in_the_program() -> None:
    sources = {one.source for one in read_collectives(WRITTEN, 16, num_slices=2)}
    assert {"jit(step)/norm", "all-reduce-scatter.3"} <= sources


def test_a_text_without_an_entry_is_an_error() -> None:
    with pytest.raises(ValueError, match="no entry"):
        read_collectives("HloModule nothing", 8)


def test_a_real_program_of_eight_devices(tmp_path: Path) -> None:
    script = tmp_path / "real.py"
    script.write_text(REAL, encoding="utf-8")
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "8"}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found, split = (sorted(json.loads(line)) for line in done.stdout.splitlines())
    gathered: list[Any] = [one for one in found if one[0] == Kind.ALL_GATHER]
    reduced: list[Any] = [one for one in found if one[0] == Kind.ALL_REDUCE]
    assert sum(times * size for _, size, _, _, times in gathered) == 7 * 32 * 32 * 4
    assert all(group == 8 for _, _, group, _, _ in gathered)
    assert reduced == [["all-reduce", 4, 8, 1, 1]]
    assert all((group, slices) == (4, 2) for _, group, slices in split)
