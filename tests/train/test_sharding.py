import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from codling.adapters.lora import attach, split
from codling.errors import UserError
from codling.model.config import named_size
from codling.model.partition import Partition
from codling.model.transformer import Transformer
from codling.train.adastar import AdaStarConfig
from codling.train.optimizer import build_optimizer
from codling.train.sharding import (
    MeshConfig,
    build_mesh,
    by_rows,
    check_fit,
    data_mesh,
    local_copies,
    local_mesh,
    place_rows,
    replicate,
    shardings_of,
)
from codling.train.state import init_state

spec: Any = PartitionSpec
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.mark.parametrize(("batch_size_rows", "num_devices"), [(1, 1), (2, 2), (3, 1), (8, 2), (9, 1)])
def test_the_mesh_has_as_many_devices_as_divide_the_batch(batch_size_rows: int, num_devices: int) -> None:
    assert len(jax.devices()) == 2
    assert dict(data_mesh(batch_size_rows).shape) == {"data": num_devices, "fsdp": 1, "sequence": 1, "tensor": 1}


def test_rows_are_split_in_order_and_nothing_is_lost() -> None:
    placed = place_rows({"rows": jnp.asarray(ROWS)}, data_mesh(4), 4)["rows"]
    np.testing.assert_array_equal(placed, ROWS)
    shards = sorted(placed.addressable_shards, key=lambda shard: shard.device.id)
    np.testing.assert_array_equal(np.stack([shard.data for shard in shards]), [ROWS[:2], ROWS[2:]])


def test_by_rows_every_device_runs_its_own_rows_beside_a_copy() -> None:
    mesh = local_mesh(4)
    assert local_mesh(3).size == 1
    scale = local_copies(jnp.asarray([1.0, 2.0, 3.0]), mesh)
    seen = []

    def of_rows(scale: jax.Array, rows: jax.Array) -> jax.Array:
        seen.append(rows.shape)
        return rows * scale[None] - rows.mean()  # of the device's own

    found = jax.jit(by_rows(of_rows, mesh))(scale, ROWS)
    expected = np.concatenate([part * [1.0, 2.0, 3.0] - part.mean() for part in (ROWS[:2], ROWS[2:])])
    np.testing.assert_allclose(found, expected)
    assert seen == [(2, 3)]


def test_every_device_has_a_whole_copy() -> None:
    placed = replicate({"rows": jnp.asarray(ROWS)}, data_mesh(4))["rows"]
    assert len(placed.addressable_shards) == 2
    for shard in placed.addressable_shards:
        np.testing.assert_array_equal(shard.data, ROWS)


@pytest.mark.parametrize("batch_size_rows", [0, -4])
def test_a_batch_without_rows_is_refused(batch_size_rows: int) -> None:
    with pytest.raises(UserError, match=f"batch_size_rows must be positive, got {batch_size_rows}"):
        data_mesh(batch_size_rows)


def test_parameters_and_their_moments_lie_as_the_table_says(tiny_model: Transformer) -> None:
    partition = Partition(build_mesh(MeshConfig(fsdp=2)))
    state = init_state(tiny_model, build_optimizer(AdaStarConfig()))
    shardings = shardings_of(state, partition)
    for tree in (shardings.params, shardings.optimizer_state.momentum):
        assert tree.embedding.spec == spec(("tensor",), ("fsdp",))
        assert tree.blocks.attention.query.weight.spec == spec(None, ("tensor",), ("fsdp",))
        assert tree.blocks.feed_forward.down.weight.spec == spec(None, ("fsdp",), ("tensor",))
        assert tree.final_norm.scale.spec == spec()
    assert shardings.step.spec == spec()


def test_an_adapters_base_lies_like_the_layer_it_wraps(tiny_model: Transformer) -> None:
    adapter, base = split(attach(tiny_model, 2, jax.random.key(0)))
    partition = Partition(build_mesh(MeshConfig(tensor=2)))
    lora = shardings_of(base, partition).blocks.attention.query
    assert lora.base.weight.spec == spec(None, ("tensor",), ("fsdp",))
    assert shardings_of(adapter, partition).blocks.attention.query.down.spec == spec()


@pytest.mark.parametrize("sizes", [{"data": 3}, {"data": 1}, {"fsdp": 2, "tensor": 2}, {"data": 0}])
def test_a_mesh_of_another_size_than_the_machine_is_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(UserError, match=r"the machine has 2; sizes whose product is 2 would do"):
        build_mesh(MeshConfig(**sizes))


MODEL = named_size("quickstart_device")  # 3 query heads, 1 key/value head


@pytest.mark.parametrize(
    ("mesh", "changes", "rows", "length", "message"),
    [
        ({"tensor": 2}, {}, 4, 256, r"tensor = 2 does not divide num_query_heads 3; sizes that would: 1$"),
        ({"tensor": 2}, {"num_query_heads": 4}, 4, 256, r"does not divide num_kv_heads 1; sizes that would: 1$"),
        ({"fsdp": 2}, {}, 3, 256, r"data x fsdp = 2 does not divide batch_size_rows 3"),
        ({"sequence": 2}, {}, 4, 255, r"sequence x tensor = 2 does not divide sequence_length_tokens 255"),
        ({"fsdp": 2}, {"model_dim": 95}, 4, 256, r"fsdp = 2 does not divide model_dim 95"),
        ({"data": 2}, {"model_dim": 95}, 4, 256, ""),
    ],
)
def test_a_mesh_that_does_not_divide_model_or_batch_is_refused(
    mesh: dict[str, int], changes: dict[str, Any], rows: int, length: int, message: str
) -> None:
    arguments = build_mesh(MeshConfig(**mesh)), dataclasses.replace(MODEL, **changes), rows, length
    if not message:
        return check_fit(*arguments)
    with pytest.raises(UserError, match=message):
        check_fit(*arguments)
