import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codling.compress.pack_bits import pack_indices, packed_shape, unpack_indices


def draw(shape: tuple[int, int], bits: int) -> np.ndarray:
    return np.random.default_rng(shape[0]).integers(0, 1 << bits, size=shape, dtype=np.uint8)


@settings(max_examples=100, deadline=None)
@given(out_dim=st.integers(1, 40), in_dim=st.integers(1, 40), bits=st.sampled_from([2, 4]))
def test_unpacking_undoes_packing(out_dim: int, in_dim: int, bits: int) -> None:
    indices = draw((out_dim, in_dim), bits)
    packed = pack_indices(indices, bits)
    assert packed.shape == packed_shape(indices.shape, bits)
    np.testing.assert_array_equal(unpack_indices(packed, indices.shape, bits), indices)


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("shape", [(120, 8064), (8064, 120), (7, 7), (1, 1), (16, 8)])
def test_dimensions_that_divide_nothing(shape: tuple[int, int], bits: int) -> None:
    indices = draw(shape, bits)
    np.testing.assert_array_equal(unpack_indices(pack_indices(indices, bits), shape, bits), indices)


@pytest.mark.parametrize("bits", [2, 4])
def test_order_is_that_of_the_specification(bits: int) -> None:
    """The formula of native/FORMAT.md, index by index."""
    indices = draw((37, 21), bits)
    packed = pack_indices(indices, bits)
    steps = 8 // bits
    for row, column in np.ndindex(indices.shape):
        step = column // 4
        byte = int(packed[row // 16][64 * (step // steps) + 4 * (row % 16) + column % 4])
        assert (byte >> (bits * (step % steps))) & ((1 << bits) - 1) == indices[row, column]


@pytest.mark.parametrize("bits", [2, 4])
def test_padding_is_zero(bits: int) -> None:
    indices = np.full((17, 9), (1 << bits) - 1, dtype=np.uint8)
    set_bits = int(np.unpackbits(pack_indices(indices, bits)).sum())
    assert set_bits == indices.size * bits
