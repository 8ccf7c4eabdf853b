import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.vq import kmeans2

from codling.compress.kmeans import Palette, kmeans_1d, kmeans_1d_grouped, nearest_entries
from codling.errors import UserError


def heavy_tailed(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_t(3, size=shape).astype(np.float32)


def squared_error(values: np.ndarray, palette: Palette) -> float:
    difference = values.astype(np.float64) - palette.centroids[palette.assignments]
    return float((difference**2).sum())


@settings(max_examples=50, deadline=None)
@given(
    distinct=st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=16, unique=True),
    picks=st.lists(st.integers(0, 15), min_size=1, max_size=60),
)
def test_few_distinct_values_come_back_exactly(distinct: list[float], picks: list[int]) -> None:
    values = np.array([distinct[pick % len(distinct)] for pick in picks], dtype=np.float32)
    palette = kmeans_1d(values, 16)
    np.testing.assert_array_equal(palette.centroids[palette.assignments], values)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=80), st.integers(1, 20))
def test_tables_ascend_inside_the_range_and_every_value_has_its_nearest(values: list[float], num_entries: int) -> None:
    group = np.array(values, dtype=np.float32)
    centroids, assignments = kmeans_1d(group, num_entries)
    assert (np.diff(centroids) >= 0).all()
    assert group.min() <= centroids[0]
    assert centroids[-1] <= group.max()
    distances = np.abs(group[:, None].astype(np.float64) - centroids)
    chosen = np.take_along_axis(distances, assignments[:, None].astype(np.int64), axis=1)[:, 0]
    assert (chosen <= distances.min(axis=1) + 1e-5).all()


def test_more_entries_never_raise_the_error() -> None:
    values = heavy_tailed(1500)
    errors = [squared_error(values, kmeans_1d(values, num_entries)) for num_entries in range(1, 40, 2)]
    assert (np.diff(errors) < 0).all()


@pytest.mark.parametrize("num_entries", [4, 16])
def test_not_worse_than_uniform_rounding_or_scipy(num_entries: int) -> None:
    values = heavy_tailed(2000)
    ours = squared_error(values, kmeans_1d(values, num_entries))
    grid = np.linspace(values.min(), values.max(), num_entries)
    uniform = np.abs(values[:, None] - grid).min(axis=1)
    assert ours < (uniform**2).sum()
    for seed in range(5):
        theirs, labels = kmeans2(values.astype(np.float64), num_entries, iter=50, minit="++", rng=seed)
        assert ours <= ((values - theirs[labels]) ** 2).sum() * (1 + 1e-6)


def test_whole_weights_equal_repeated_values() -> None:
    rng = np.random.default_rng(0)
    values, repeats = heavy_tailed(150), rng.integers(0, 4, size=150)
    weighted = kmeans_1d(values, 6, repeats.astype(np.float32)).centroids
    repeated = kmeans_1d(np.repeat(values, repeats), 6).centroids
    np.testing.assert_allclose(weighted, repeated, rtol=1e-6)


def test_only_ratios_of_weights_count() -> None:
    values, weights = heavy_tailed(300), np.random.default_rng(0).random(300)
    np.testing.assert_allclose(
        kmeans_1d(values, 8, weights * 1e-20).centroids, kmeans_1d(values, 8, weights).centroids, rtol=1e-6
    )


def test_groups_together_equal_groups_alone_in_the_same_bytes() -> None:
    groups = heavy_tailed(37, 500)
    tables, indices = kmeans_1d_grouped(groups, 16)
    for group, table, index in zip(groups, tables, indices, strict=True):
        alone = kmeans_1d(group, 16)
        assert alone.centroids.tobytes() == table.tobytes()
        assert alone.assignments.tobytes() == index.tobytes()


def test_all_cells_are_at_least_as_good_as_the_default() -> None:
    values = heavy_tailed(900, seed=3)
    exact = kmeans_1d(values, 16, num_cells=len(values))
    assert squared_error(values, exact) <= squared_error(values, kmeans_1d(values, 16)) * (1 + 1e-6)


def test_nearest_tells_neighboring_floats_apart() -> None:
    one = np.float32(1)
    pair = np.array([[one, np.nextafter(one, np.float32(2))]])
    assert nearest_entries(pair, pair).tolist() == [[0, 1]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named_and_counted(bad: float) -> None:
    values = heavy_tailed(10)
    values[[2, 5]] = bad
    with pytest.raises(UserError, match=r"^blocks\.0\.up: 2 of 10 values are NaN or infinite"):
        kmeans_1d(values, 4, name="blocks.0.up")


@pytest.mark.parametrize("num_entries", [0, 257])
def test_a_table_that_no_byte_can_index_is_refused(num_entries: int) -> None:
    with pytest.raises(UserError, match=rf"^w: a table has 1 to 256 entries, {num_entries}"):
        kmeans_1d(heavy_tailed(10), num_entries, name="w")


def test_nothing_to_cluster_is_refused() -> None:
    with pytest.raises(UserError, match=r"^w: there are no values"):
        kmeans_1d(np.zeros(0, dtype=np.float32), 4, name="w")


@pytest.mark.parametrize("weights", [[1.0, -1.0], [0.0, 0.0], [np.nan, 1.0]])
def test_weights_that_mean_nothing_are_refused(weights: list[float]) -> None:
    with pytest.raises(UserError, match=r"^w: importance must be finite"):
        kmeans_1d(heavy_tailed(2), 4, np.array(weights), name="w")
