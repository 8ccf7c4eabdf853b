import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from codling.compress.embedding_quant import quantize_embedding
from codling.errors import UserError

ROUNDING = 1 + 1e-5  # scale, quotient and product are float32


@settings(max_examples=100, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.floats(-(2.0**100), 2.0**100, width=32),
    )
)
def test_no_value_moves_by_more_than_half_a_scale(embedding: np.ndarray) -> None:
    quantized = quantize_embedding(embedding)
    moved = np.abs(quantized.dequantize().astype(np.float64) - embedding)
    assert (moved <= quantized.scales[:, None].astype(np.float64) / 2 * ROUNDING).all()


def test_independent_reference() -> None:
    embedding = np.random.default_rng(0).normal(size=(30, 12)).astype(np.float32)
    quantized = quantize_embedding(embedding)
    for row, values, scale in zip(embedding, quantized.values, quantized.scales, strict=True):
        assert scale == pytest.approx(max(abs(row)) / 127)
        assert values.tolist() == [round(float(value / scale)) for value in row]


def test_rows_do_not_disturb_each_other() -> None:
    embedding = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    louder = embedding.copy()
    louder[0] *= 1000
    np.testing.assert_array_equal(quantize_embedding(embedding).values[1:], quantize_embedding(louder).values[1:])


def test_bits_per_weight_count_the_scales() -> None:
    assert quantize_embedding(np.ones((5, 64), dtype=np.float32)).bits_per_weight() == 8.5


def test_values_that_are_not_finite_are_named_and_counted() -> None:
    embedding = np.ones((4, 4), dtype=np.float32)
    embedding[1] = np.nan
    with pytest.raises(UserError, match=r"^embedding: 4 of 16 values are NaN or infinite"):
        quantize_embedding(embedding)


def test_an_empty_embedding_is_refused() -> None:
    with pytest.raises(UserError, match=r"^table: there is nothing to quantize"):
        quantize_embedding(np.zeros((0, 4), dtype=np.float32), name="table")
