import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.errors import UserError
from codling.train.sharding import DATA_AXIS, data_mesh, replicate, split_rows

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.mark.parametrize(("batch_size_rows", "num_devices"), [(1, 1), (2, 2), (3, 1), (8, 2), (9, 1)])
def test_the_mesh_has_as_many_devices_as_divide_the_batch(batch_size_rows: int, num_devices: int) -> None:
    assert len(jax.devices()) == 2
    assert dict(data_mesh(batch_size_rows).shape) == {DATA_AXIS: num_devices}


def test_rows_are_split_in_order_and_nothing_is_lost() -> None:
    placed = split_rows({"rows": jnp.asarray(ROWS)}, data_mesh(4))["rows"]
    np.testing.assert_array_equal(placed, ROWS)
    shards = sorted(placed.addressable_shards, key=lambda shard: shard.device.id)
    np.testing.assert_array_equal(np.stack([shard.data for shard in shards]), [ROWS[:2], ROWS[2:]])


def test_every_device_has_a_whole_copy() -> None:
    placed = replicate({"rows": jnp.asarray(ROWS)}, data_mesh(4))["rows"]
    assert len(placed.addressable_shards) == 2
    for shard in placed.addressable_shards:
        np.testing.assert_array_equal(shard.data, ROWS)


@pytest.mark.parametrize("batch_size_rows", [0, -4])
def test_a_batch_without_rows_is_refused(batch_size_rows: int) -> None:
    with pytest.raises(UserError, match=f"batch_size_rows must be positive, got {batch_size_rows}"):
        data_mesh(batch_size_rows)
