import numpy as np
import pytest

from codling.compress import palettize as module
from codling.compress.kmeans import kmeans_1d_grouped
from codling.compress.pack_bits import unpack_indices
from codling.compress.palettize import palettize, round_tables, stored_bits
from codling.errors import UserError

# Squared error that int8 tables may add to float tables on normal weights. Measured: 0.2%.
INT8_TABLE_TOLERANCE = 0.005


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("shape", [(120, 120), (7, 7), (1, 1), (48, 40), (33, 300), (16, 8064)])
def test_every_weight_gets_the_nearest_entry_of_its_table(shape: tuple[int, int], bits: int) -> None:
    weight = draw(*shape)
    matrix = palettize(weight, bits)
    values = matrix.tables.astype(np.float32) * matrix.scales[:, None]
    per_row = np.repeat(values, 16, axis=0)[: shape[0]]
    nearest = np.abs(weight[:, :, None] - per_row[:, None, :]).min(axis=2)
    np.testing.assert_allclose(np.abs(weight - matrix.dequantize()), nearest, atol=1e-6)


@pytest.mark.parametrize("bits", [2, 4])
def test_whole_multiples_of_a_scale_palettize_exactly(bits: int) -> None:
    entries = np.random.default_rng(0).choice(np.arange(-127, 128), size=(3, 1 << bits), replace=False)
    entries[:, 0] = 127
    picks = np.random.default_rng(1).integers(0, 1 << bits, size=(48, 50))
    picks[::16, 0] = 0  # the largest entry occurs in each group
    weight = (entries[np.arange(48)[:, None] // 16, picks] * 0.125).astype(np.float32)
    np.testing.assert_array_equal(palettize(weight, bits).dequantize(), weight)


def test_int8_tables_cost_little_beside_float_tables() -> None:
    weight = draw(64, 192)
    groups = weight.reshape(4, -1)
    tables, indices = kmeans_1d_grouped(groups, 16)
    ideal = ((np.take_along_axis(tables, indices.astype(np.int64), axis=1) - groups) ** 2).sum()
    actual = ((palettize(weight).dequantize() - weight) ** 2).sum()
    assert ideal <= actual * (1 + 1e-6) <= ideal * (1 + INT8_TABLE_TOLERANCE)


def test_rounded_tables_are_not_worse_than_full_scale() -> None:
    centroids = np.sort(np.random.default_rng(0).standard_t(2, size=(50, 16)), axis=1).astype(np.float32)
    counts = np.random.default_rng(1).integers(1, 500, size=(50, 16))
    tables, scales = round_tables(centroids, counts)
    full = np.abs(centroids).max(axis=1, keepdims=True) / 127
    loss = (counts * (tables * scales[:, None] - centroids) ** 2).sum(axis=1)
    full_loss = (counts * (np.rint(centroids / full) * full - centroids) ** 2).sum(axis=1)
    assert (loss <= full_loss * (1 + 1e-5)).all()
    assert np.abs(tables.astype(int)).max() <= 127


def test_a_short_last_group_has_a_table_of_its_own() -> None:
    weight = draw(40, 24)
    weight[32:] *= 1000
    matrix = palettize(weight)
    assert matrix.tables.shape == (3, 16)
    np.testing.assert_array_equal(matrix.dequantize()[:32], palettize(weight[:32]).dequantize())
    np.testing.assert_array_equal(matrix.dequantize()[32:], palettize(weight[32:]).dequantize())


def test_more_rows_a_table_mean_fewer_tables_and_more_error() -> None:
    weight = draw(64, 48) * np.linspace(0.1, 2, 64, dtype=np.float32)[:, None]
    matrices = [palettize(weight, rows_per_table=rows) for rows in (16, 32, 64)]
    assert [len(matrix.tables) for matrix in matrices] == [4, 2, 1]
    errors = [float(((matrix.dequantize() - weight) ** 2).sum()) for matrix in matrices]
    assert errors == sorted(errors)


def test_zeros_stay_zeros() -> None:
    matrix = palettize(np.zeros((5, 6), dtype=np.float32))
    assert not matrix.dequantize().any()
    assert (matrix.scales > 0).all()


def test_the_same_weights_give_the_same_bytes() -> None:
    first, second = palettize(draw(48, 40)), palettize(draw(48, 40))
    assert first.indices.tobytes() == second.indices.tobytes()
    assert first.tables.tobytes() == second.tables.tobytes()
    assert first.scales.tobytes() == second.scales.tobytes()


@pytest.mark.parametrize(
    ("shape", "bits", "expected"),
    [
        ((32, 64), 4, (4, 2 * 16 * 8 / 2048, 2 * 32 / 2048)),
        ((32, 64), 2, (2, 2 * 4 * 8 / 2048, 2 * 32 / 2048)),
        ((1, 1), 4, (64 * 8, 16 * 8, 32)),  # one chunk, one table, one scale for a single weight
    ],
)
def test_bits_per_weight_count_every_stored_bit(shape: tuple[int, int], bits: int, expected: tuple[float, ...]) -> None:
    counted = palettize(draw(*shape), bits).bits_per_weight()
    assert tuple(counted) == expected
    assert counted.total == sum(expected)


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("shape", [(32, 64), (1, 1), (40, 25)])
def test_scales_of_rows_are_applied_last_and_counted(shape: tuple[int, int], bits: int) -> None:
    plain = palettize(draw(*shape), bits)
    row_scales = np.random.default_rng(1).uniform(0.5, 2, shape[0]).astype(np.float16)
    scaled = plain._replace(row_scales=row_scales)
    np.testing.assert_array_equal(scaled.dequantize(), plain.dequantize() * row_scales.astype(np.float32)[:, None])
    num_weights = shape[0] * shape[1]
    assert scaled.bits_per_weight().total - plain.bits_per_weight().total == pytest.approx(16 / shape[1])
    for matrix in (plain, scaled):
        bits_stored = stored_bits(shape, bits, 16, with_row_scales=matrix.row_scales is not None)
        assert bits_stored == pytest.approx(matrix.bits_per_weight().total * num_weights)


def test_indices_that_do_not_read_back_are_an_error_that_names_the_matrix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "unpack_indices", lambda *args: unpack_indices(*args) ^ 1)
    with pytest.raises(RuntimeError, match=r"^blocks\.0\.up: the packed indices do not read back"):
        palettize(draw(16, 8), name="blocks.0.up")


def test_weights_that_are_not_finite_are_named_and_counted() -> None:
    weight = draw(40, 8)
    weight[0, 0], weight[39, 7] = np.nan, np.inf  # one in a whole group, one in the short last group
    with pytest.raises(UserError, match=r"^blocks\.0\.up: 2 of 320 values are NaN or infinite"):
        palettize(weight, name="blocks.0.up")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 3}, "^w: indices of 3 bits"),
        ({"rows_per_table": 8}, "^w: rows_per_table is 8"),
        ({"rows_per_table": 0}, "^w: rows_per_table is 0"),
    ],
)
def test_what_no_kernel_reads_is_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        palettize(draw(16, 8), name="w", **options)


def test_an_empty_matrix_is_refused() -> None:
    with pytest.raises(UserError, match=r"^w: there are no weights"):
        palettize(np.zeros((0, 8), dtype=np.float32), name="w")
