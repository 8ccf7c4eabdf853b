import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.model.embedding import copies, look_up
from codling.model.execution import PLAIN, ComputeConfig, ComputeType, Execution
from codling.model.partition import Partition
from codling.train.sharding import MeshConfig, build_mesh

RANDOM = np.random.default_rng(0)
TABLE = jnp.asarray(RANDOM.normal(size=(12, 8)), jnp.float32)
TOKENS = jnp.asarray(RANDOM.integers(0, 12, size=(4, 6)), jnp.int32)
WANTED = jnp.asarray(RANDOM.normal(size=(4, 6, 8)), jnp.float32)
MESHES = [{"data": 2}, {"fsdp": 2}, {"tensor": 2}, {"sequence": 2}]
"""All axes at once: `tests/train/test_mesh_steps.py`."""


def on_mesh(sizes: dict[str, int], dtype: ComputeType = ComputeType.FLOAT32) -> Execution:
    return Execution(ComputeConfig(dtype=dtype), Partition(build_mesh(MeshConfig(**sizes))))


def weighted_sum(table: jax.Array, execution: Execution) -> jax.Array:
    return jnp.sum(look_up(table, TOKENS, execution) * WANTED)


def test_without_a_mesh_it_is_the_table_s_rows() -> None:
    np.testing.assert_array_equal(look_up(TABLE, TOKENS, PLAIN), np.asarray(TABLE)[np.asarray(TOKENS)])


@pytest.mark.parametrize("sizes", MESHES, ids=str)
def test_on_any_mesh_rows_and_the_table_s_gradient_are_the_same(sizes: dict[str, int]) -> None:
    execution = on_mesh(sizes)
    rows = jax.jit(look_up, static_argnums=2)(TABLE, TOKENS, execution)
    np.testing.assert_array_equal(rows, np.asarray(TABLE)[np.asarray(TOKENS)])
    gradient = jax.jit(jax.grad(weighted_sum), static_argnums=1)(TABLE, execution)
    expected = np.zeros(TABLE.shape)
    np.add.at(expected, np.asarray(TOKENS), np.asarray(WANTED))
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_every_device_that_has_tokens_has_a_copy_in_the_type_that_is_computed_in() -> None:
    execution = on_mesh({"fsdp": 2}, ComputeType.BFLOAT16)
    assert execution.partition is not None
    lent = jax.jit(copies, static_argnums=(1, 2))(TABLE, execution.partition, execution.dtype)
    assert lent.shape == (1, 2, *TABLE.shape)
    assert lent.dtype == jnp.bfloat16
    assert {shard.data.shape for shard in lent.addressable_shards} == {(1, 1, *TABLE.shape)}
