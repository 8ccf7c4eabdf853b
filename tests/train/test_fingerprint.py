from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from codling.model.partition import DATA
from codling.train.fingerprint import ArrayFacts, array_facts, checksums, first_difference, named_arrays
from codling.train.sharding import data_mesh

DTYPES = ["float32", "bfloat16", "float16", "int32", "uint8", "bool"]


def example(dtype: str, shape: tuple[int, ...] = (6, 4)) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 100, shape)
    return np.asarray(jnp.asarray(values).astype(dtype))


def checksum(array: Any) -> int:
    [value] = checksums({"x": jnp.asarray(array)})
    return value


def reference(array: np.ndarray) -> int:
    """Sum of word times odd weight, one word after the other."""
    words = np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}").reshape(-1)
    total = 0
    for place, word in enumerate(words.tolist()):
        weight = place
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            weight = (weight ^ (weight >> shift)) * factor % 2**32
        total += word * (weight | 1)
    return total % 2**32


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (5,), (3, 2, 4)], ids=str)
def test_the_checksum_is_a_weighted_sum_of_words(dtype: str, shape: tuple[int, ...]) -> None:
    assert checksum(example(dtype, shape)) == reference(example(dtype, shape))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_flipped_bit_changes_the_checksum(dtype: str) -> None:
    array = example(dtype)
    expected = checksum(array)
    for position in range(0, array.nbytes, 5):
        for bit in range(1 if dtype == "bool" else 8):
            content = bytearray(array.tobytes())
            content[position] ^= 1 << bit
            assert checksum(np.frombuffer(bytes(content), array.dtype).reshape(array.shape)) != expected


def test_order_matters_and_minus_zero_is_not_zero() -> None:
    assert checksum([1.0, 2.0]) != checksum([2.0, 1.0])
    assert checksum([0.0]) != checksum([-0.0])


def test_the_checksum_does_not_depend_on_where_the_parts_are() -> None:
    array = example("float32")
    for spec in (PartitionSpec(), PartitionSpec(DATA), PartitionSpec(None, DATA)):  # type: ignore[no-untyped-call]
        assert checksum(jax.device_put(array, NamedSharding(data_mesh(2), spec))) == checksum(array)


def test_arrays_are_named_by_their_place() -> None:
    tree = {"a": [jnp.zeros((2, 3)), jax.ShapeDtypeStruct((4,), jnp.int32)], "b": None, "c": "text"}  # type: ignore[no-untyped-call]
    assert array_facts(named_arrays(tree)) == [
        ArrayFacts("a.0", (2, 3), "float32"),
        ArrayFacts("a.1", (4,), "int32"),
    ]


def test_the_first_difference_names_both_sides() -> None:
    a, b, other = ArrayFacts("a", (2,), "float32"), ArrayFacts("b", (), "int32"), ArrayFacts("b", (3,), "int32")
    assert first_difference([a, b], [a, b]) is None
    assert first_difference([b, a], [a, b]) is None  # saved by name; the order is the reader's
    assert first_difference([a, b], [a, other]) == "b is int32[3] here and int32[] there"
    assert first_difference([a], [a, b]) == "b is int32[] here and missing there"
    assert first_difference([a, b], [a]) == "b is missing here, int32[] there"
