from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from codling.model.partition import MESH_AXES, RULES, Partition

spec: Any = PartitionSpec


@pytest.fixture(scope="module")
def partition() -> Partition:
    return Partition(Mesh(np.array(jax.devices()).reshape(1, 2, 1, 1), MESH_AXES))


def test_dimensions_lie_on_the_axes_of_the_table(partition: Partition) -> None:
    assert partition.spec("rows", "tokens", None) == spec(("data", "fsdp"), ("sequence",), None)
    assert partition.spec("vocab", "model") == spec(("tensor",), ("fsdp",))
    assert partition.num_parts("rows") == 2
    assert partition.num_parts("heads") == 1
    assert partition.platform == "cpu"


def test_every_rule_names_axes_of_the_mesh() -> None:
    assert {axis for axes in RULES.values() for axis in axes} == set(MESH_AXES)


def test_a_constrained_value_is_the_same_value_split(partition: Partition) -> None:
    rows = jnp.arange(8.0).reshape(4, 2)
    split = jax.jit(lambda x: partition.constrain(2.0 * x, "rows", None))(rows)
    np.testing.assert_array_equal(split, 2.0 * rows)
    assert split.addressable_shards[0].data.shape == (2, 2)
