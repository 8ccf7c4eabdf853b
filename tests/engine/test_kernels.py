"""Every set of kernels against the plain loops, and those against NumPy, on random shapes."""

from typing import NamedTuple

import ml_dtypes
import numpy as np
import pytest

from codling.compress.pack_bits import pack_indices
from codling.compress.palettize import PalettizedMatrix
from codling.engine import _native

FAST = [name for name in _native.runnable_kernels() if name != "scalar"]
SUM_TOLERANCE = 2e-6
"""Of a sum in another order, relative to the sum of magnitudes."""
EXPONENTIAL_TOLERANCE = 3e-6
"""Relative: `exp` by a polynomial."""
COLUMNS_PER_SCALE = 128

SHAPES = [(16, 128), (1, 1), (3, 10), (17, 8), (33, 130), (50, 255), (95, 257), (64, 512)]
NUM_TOKENS = [1, 2, 3, 5, 8, 13, 24, 31, 49]


def random_palettized(
    shape: tuple[int, int], bits: int, *, rows_per_table: int = 16, with_row_scales: bool, seed: int = 0
) -> PalettizedMatrix:
    random = np.random.default_rng(seed)
    num_tables = -(-shape[0] // rows_per_table)
    return PalettizedMatrix(
        pack_indices(random.integers(0, 1 << bits, shape).astype(np.uint8), bits),
        np.sort(random.integers(-127, 128, (num_tables, 1 << bits)).astype(np.int8), axis=1),
        random.uniform(0.001, 0.01, num_tables).astype(np.float32),
        shape,
        bits,
        rows_per_table,
        random.uniform(0.5, 2, shape[0]).astype(np.float16) if with_row_scales else None,
    )


def multiply(kernels: str, matrix: PalettizedMatrix, x: np.ndarray, *, rounds: bool) -> np.ndarray:
    row_scales = None if matrix.row_scales is None else matrix.row_scales.view(np.uint16)
    return _native.multiply_palettized(
        kernels,
        matrix.indices,
        matrix.tables,
        matrix.scales,
        row_scales,
        matrix.shape[0],
        matrix.rows_per_table,
        x,
        rounds,
    )


def random_tokens(num_tokens: int, width: int, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    x: np.ndarray = (random.normal(size=(num_tokens, width)) * 10.0 ** random.integers(-3, 3, (num_tokens, 1))).astype(
        np.float32
    )
    return x


def rounded(x: np.ndarray) -> np.ndarray:
    """Activations as int8 with one scale a token and block stand for them."""
    result = np.zeros_like(x)
    for begin in range(0, x.shape[1], COLUMNS_PER_SCALE):
        block = x[:, begin : begin + COLUMNS_PER_SCALE]
        largest = np.maximum(np.abs(block).max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
        # As the kernels round, operation by operation: half-way cases go the same way.
        whole = np.rint(block * (np.float32(127) / largest))
        result[:, begin : begin + COLUMNS_PER_SCALE] = whole * (largest / np.float32(127))
    return result


def assert_sums_equal(found: np.ndarray, x: np.ndarray, weight: np.ndarray, start: float = 0.0) -> None:
    expected = x.astype(np.float64) @ weight.T.astype(np.float64) + start
    magnitudes = np.abs(x).astype(np.float64) @ np.abs(weight.T).astype(np.float64) + abs(start)
    assert (np.abs(found - expected) <= SUM_TOLERANCE * magnitudes).all()


@pytest.mark.parametrize("kernels", ["scalar", *FAST])
@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("with_row_scales", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_float_activations_times_palettized(
    kernels: str, bits: int, with_row_scales: bool, shape: tuple[int, int]
) -> None:
    matrix = random_palettized(shape, bits, with_row_scales=with_row_scales)
    for num_tokens in (1, 3, 6):
        x = random_tokens(num_tokens, shape[1])
        assert_sums_equal(multiply(kernels, matrix, x, rounds=False), x, matrix.dequantize())


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rounded_activations_times_palettized(bits: int, shape: tuple[int, int]) -> None:
    matrix = random_palettized(shape, bits, with_row_scales=True)
    x = random_tokens(3, shape[1])
    found = multiply("scalar", matrix, x, rounds=True)
    assert_sums_equal(found, rounded(x), matrix.dequantize())


@pytest.mark.parametrize("kernels", FAST)
@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_whole_numbers_are_the_same_in_every_set(kernels: str, bits: int, shape: tuple[int, int]) -> None:
    for with_row_scales in (False, True):
        matrix = random_palettized(shape, bits, with_row_scales=with_row_scales)
        for num_tokens in NUM_TOKENS:
            x = random_tokens(num_tokens, shape[1])
            found, plain = (multiply(name, matrix, x, rounds=True) for name in (kernels, "scalar"))
            np.testing.assert_array_equal(found, plain)


@pytest.mark.parametrize("kernels", ["scalar", *FAST])
@pytest.mark.parametrize("rounds", [False, True])
def test_tables_of_many_rows(kernels: str, rounds: bool) -> None:
    matrix = random_palettized((75, 40), 4, rows_per_table=48, with_row_scales=True)
    x = random_tokens(5, 40)
    assert_sums_equal(multiply(kernels, matrix, x, rounds=rounds), rounded(x) if rounds else x, matrix.dequantize())


@pytest.mark.parametrize("kernels", ["scalar", *FAST])
@pytest.mark.parametrize("rounds", [False, True])
@pytest.mark.parametrize("bits", [2, 4])
def test_a_token_does_not_depend_on_its_neighbors(kernels: str, rounds: bool, bits: int) -> None:
    matrix = random_palettized((40, 200), bits, with_row_scales=True)
    x = random_tokens(31, 200)
    together = multiply(kernels, matrix, x, rounds=rounds)
    alone = np.concatenate([multiply(kernels, matrix, x[token : token + 1], rounds=rounds) for token in range(31)])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("kernels", ["scalar", *FAST])
def test_extreme_activations_overflow_nothing(kernels: str) -> None:
    extreme = random_palettized((16, 256), 4, with_row_scales=False)
    matrix = extreme._replace(tables=np.asarray([[-127] * 8 + [127] * 8], np.int8))
    for x in (np.full((2, 256), 3e38, np.float32), np.full((2, 256), -1e-20, np.float32)):
        np.testing.assert_array_equal(
            multiply(kernels, matrix, x, rounds=True), multiply("scalar", matrix, x, rounds=True)
        )
    nothing = np.zeros((3, 256), np.float32)
    assert not multiply(kernels, matrix, nothing, rounds=True).any()


class Dense(NamedTuple):
    """A random matrix, as stored and as floats."""

    type: str
    stored: np.ndarray
    row_scales: np.ndarray | None
    weight: np.ndarray

    def multiply(self, kernels: str, x: np.ndarray, *, rounds: bool = False, start: float | None = None) -> np.ndarray:
        num_rows, num_columns = self.stored.shape
        as_bytes = self.stored.view(np.uint8).reshape(num_rows, num_columns * self.stored.itemsize)
        return _native.multiply_dense(kernels, as_bytes, self.type, self.row_scales, x, rounds, start)

    def take_row(self, row: int) -> "Dense":
        rows = slice(row, row + 1)
        row_scales = None if self.row_scales is None else self.row_scales[rows]
        return Dense(self.type, self.stored[rows], row_scales, self.weight[rows])


def random_dense(type: str, shape: tuple[int, int]) -> Dense:
    random = np.random.default_rng(2)
    if type == "I8":
        stored, row_scales = (
            random.integers(-128, 128, shape).astype(np.int8),
            random.uniform(0.1, 1, shape[0]).astype(np.float32),
        )
        return Dense(type, stored, row_scales, stored * row_scales[:, None])
    dtype = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}[type]
    stored = random.normal(size=shape).astype(dtype)
    # Numbers below the smallest normal one of 16 bits, too.
    stored[0] = stored[0] * 1e-6
    return Dense(type, stored, None, stored.astype(np.float32))


@pytest.mark.parametrize("kernels", ["scalar", *FAST])
@pytest.mark.parametrize("type", ["F32", "F16", "BF16", "I8"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_float_activations_times_dense(kernels: str, type: str, shape: tuple[int, int]) -> None:
    matrix = random_dense(type, shape)
    for num_tokens in (1, 4, 7):
        x = random_tokens(num_tokens, shape[1])
        assert_sums_equal(matrix.multiply(kernels, x), x, matrix.weight)
        assert_sums_equal(matrix.multiply(kernels, x, start=3.0), x, matrix.weight, 3.0)


@pytest.mark.parametrize("kernels", ["scalar", *FAST])
@pytest.mark.parametrize("type", ["F32", "F16", "BF16", "I8"])
@pytest.mark.parametrize("num_columns", [1, 5, 8, 16, 17, 32, 64])
def test_a_row_of_few_columns_does_not_depend_on_its_neighbors(kernels: str, type: str, num_columns: int) -> None:
    matrix, x = random_dense(type, (39, num_columns)), random_tokens(5, num_columns)
    together = matrix.multiply(kernels, x)
    assert_sums_equal(together, x, matrix.weight)
    for row in range(39):
        alone = matrix.take_row(row).multiply(kernels, x)
        np.testing.assert_array_equal(together[:, row], alone[:, 0])


@pytest.mark.parametrize("kernels", ["scalar", *FAST])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rounded_activations_times_int8_rows(kernels: str, shape: tuple[int, int]) -> None:
    matrix = random_dense("I8", shape)
    for num_tokens in (1, 5):
        x = random_tokens(num_tokens, shape[1])
        assert_sums_equal(matrix.multiply(kernels, x, rounds=True), rounded(x), matrix.weight)


@pytest.mark.parametrize("kernels", ["scalar", *FAST])
@pytest.mark.parametrize("width", [1, 7, 8, 16, 33, 96, 257])
def test_rms_norm(kernels: str, width: int) -> None:
    x, weight = random_tokens(3, width), random_tokens(1, width)[0]
    wide = x.astype(np.float64)
    expected = wide / np.sqrt(np.square(wide).mean(axis=1, keepdims=True) + 1e-5) * weight
    np.testing.assert_allclose(_native.rms_norm(kernels, x, weight, 1e-5), expected, rtol=SUM_TOLERANCE, atol=0)


@pytest.mark.parametrize("kernels", ["scalar", *FAST])
@pytest.mark.parametrize("width", [1, 7, 16, 100])
def test_swiglu(kernels: str, width: int) -> None:
    gate, up = random_tokens(20, width, seed=3), random_tokens(20, width, seed=4)
    gate[:3] = [[-200.0], [200.0], [0.0]]
    wide = gate.astype(np.float64)
    expected = wide / (1 + np.exp(-wide)) * up
    np.testing.assert_allclose(_native.swiglu(kernels, gate, up), expected, rtol=EXPONENTIAL_TOLERANCE, atol=1e-32)


@pytest.mark.parametrize("kernels", ["scalar", *FAST])
@pytest.mark.parametrize("head_dim", [2, 8, 34, 64, 128])
def test_rotate(kernels: str, head_dim: int) -> None:
    heads = random_tokens(5, head_dim)
    angles = np.random.default_rng(5).uniform(0, 6, (5, head_dim // 2)).astype(np.float32)
    turned = (heads[:, : head_dim // 2] + 1j * heads[:, head_dim // 2 :]) * np.exp(1j * angles)
    found = _native.rotate(kernels, heads, np.cos(angles), np.sin(angles))
    sizes = np.abs(turned)
    np.testing.assert_allclose(
        found / np.tile(sizes, 2), np.concatenate([turned.real, turned.imag], axis=1) / np.tile(sizes, 2), atol=1e-6
    )
