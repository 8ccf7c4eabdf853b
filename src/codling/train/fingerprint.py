"""What a checkpoint says of its arrays: name, shape, type and checksum, so that damage and another architecture show.

The checksum is taken where the arrays are, on the devices, and of the values and not of files: it does not depend on
how an array is split or on how it is written, and it covers the whole way from the device to the disk and back.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree, UInt32

# The finalizer of MurmurHash3: every bit of the place moves every bit of its weight.
_MIX = ((16, 0x85EBCA6B), (13, 0xC2B2AE35))
_WORDS = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}


class ArrayFacts(NamedTuple):
    """One array of a training state."""

    name: str
    """Dotted, such as `params.blocks.feed_forward.up.weight`."""
    shape: tuple[int, ...]
    dtype: str

    def describe(self) -> str:
        """`float32[61, 16]`."""
        return f"{self.dtype}{list(self.shape)}"


def is_array(leaf: object) -> bool:
    """True for arrays, and for descriptions of arrays that are not there."""
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct)


def named_arrays(tree: PyTree) -> dict[str, Any]:
    """The arrays of a tree, or the descriptions in their places, by their dotted names and in the tree's order."""
    return {_dotted(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree) if is_array(leaf)}


def array_facts(arrays: dict[str, Any]) -> list[ArrayFacts]:
    """Names, shapes and types."""
    return [ArrayFacts(name, array.shape, str(array.dtype)) for name, array in arrays.items()]


def first_difference(saved: list[ArrayFacts], wanted: list[ArrayFacts]) -> str | None:
    """Say of the first array that differs what it is on both sides; None where all are alike."""
    saved_by_name = {facts.name: facts for facts in saved}
    for facts in wanted:
        other = saved_by_name.pop(facts.name, None)
        if other is None:
            return f"{facts.name} is {facts.describe()} here and missing there"
        if other != facts:
            return f"{facts.name} is {facts.describe()} here and {other.describe()} there"
    return next((f"{name} is missing here, {facts.describe()} there" for name, facts in saved_by_name.items()), None)


def checksums(arrays: dict[str, Array]) -> list[int]:
    """The checksum of each array. Price: one pass over all of them, on their devices."""
    return [int(value) for value in jax.device_get(_checksums(list(arrays.values())))]


@jax.jit
def _checksums(arrays: list[Array]) -> list[UInt32[Array, ""]]:
    """In one program: of several in flight at once, each process might begin its exchanges with another."""
    return [_checksum(array) for array in arrays]


def _checksum(array: Array) -> UInt32[Array, ""]:
    """Sum of word * odd weight of its place, modulo 2^32.

    A change within one word always changes the sum, as an odd weight has an inverse; any other change passes with a
    probability of 2^-32.
    """
    if array.dtype == jnp.bool_:
        array = array.astype(jnp.uint8)
    words = jax.lax.bitcast_convert_type(array, _WORDS[array.dtype.itemsize]).astype(jnp.uint32)
    # Places are counted axis by axis: a flat view would bring together what is split over devices.
    place = jnp.zeros(words.shape, jnp.uint32)
    for axis, length in enumerate(words.shape):
        place = place * jnp.uint32(length) + jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    for shift, factor in _MIX:
        place = (place ^ (place >> jnp.uint32(shift))) * jnp.uint32(factor)
    return jnp.sum(words * (place | jnp.uint32(1)), dtype=jnp.uint32)


def _dotted(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
