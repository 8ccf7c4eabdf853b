"""The embedding on a mesh: looked up, and lent to the head, from a copy that each device has of its part.

Left to itself XLA either splits a look-up by the width of the table, so that each device looks up the tokens of all its
neighbors, or sums the table's gradient whole. With one copy a device for as long as it is used, gathered in the type
that is computed in, the gradients of the copies are summed axis by axis: scattered over the fast links first, so that
only a part crosses the data-center network.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from codling.model.execution import Execution
from codling.model.partition import TOKEN_AXES, Partition


def look_up(embedding: Float[Array, "V D"], tokens: Int[Array, "B T"], execution: Execution) -> Float[Array, "B T D"]:
    """The rows of the table that the tokens name, in the type that the model computes in."""
    partition = execution.partition
    if partition is None:
        return embedding.astype(execution.dtype)[tokens]
    sharded = jax.shard_map(
        _rows_of_copy,
        mesh=partition.mesh,
        in_specs=(partition.spec("slices", "copies"), partition.spec("rows", "tokens")),
        out_specs=partition.spec("rows", "tokens"),
        axis_names=set(TOKEN_AXES),
        check_vma=False,
    )
    rows: Array = sharded(copies(embedding, partition, execution.dtype), tokens)
    return rows


def _rows_of_copy(copy: Float[Array, "1 1 V D"], tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
    return copy[0, 0][tokens]


def copies(matrix: Float[Array, "V D"], partition: Partition, dtype: jnp.dtype) -> Float[Array, "n m V D"]:
    """The matrix for every device that has tokens of its own: slice n, device m of it; still split by vocabulary."""
    shape, num_slices = matrix.shape, partition.num_parts("slices")
    # Cast and spread over the slices while split, gathered only then: half the bytes travel.
    split = partition.constrain(matrix.astype(dtype), "vocab", "model")
    of_slice = jnp.broadcast_to(split[None], (num_slices, *shape))
    of_slice = partition.constrain(of_slice, "slices", "vocab", "model")
    whole = partition.constrain(of_slice, "slices", "vocab", None)
    of_device = jnp.broadcast_to(whole[:, None], (num_slices, partition.num_parts("copies"), *shape))
    return partition.constrain(of_device, "slices", "copies", "vocab", None)
