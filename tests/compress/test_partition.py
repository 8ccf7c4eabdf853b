import itertools

import numpy as np
import pytest

from codling.compress.partition import EVEN_SHARE, PrefixSums, default_num_cells, optimal_cuts


def cut(values: np.ndarray, weights: np.ndarray, num_clusters: int, num_cells: int) -> tuple[float, np.ndarray]:
    """Squared error of the cuts found for one group, and the cuts."""
    weight, moment = (np.concatenate([[0.0], np.cumsum(terms)])[None] for terms in (weights, weights * values))
    cuts = optimal_cuts(values[None], PrefixSums(weight, moment), num_clusters, num_cells)[0]
    return error_of(values, weights, cuts.tolist()), cuts


def error_of(values: np.ndarray, weights: np.ndarray, cuts: list[int]) -> float:
    error = 0.0
    for start, stop in itertools.pairwise(cuts):
        cluster, weight = values[start:stop], weights[start:stop]
        if weight.sum() > 0:
            error += float((weight * (cluster - np.average(cluster, weights=weight)) ** 2).sum())
    return error


def full_program_error(values: np.ndarray, weights: np.ndarray, num_clusters: int) -> float:
    """The textbook recurrence over every value, without cells, windows or gains."""
    w, m, q = (np.concatenate([[0.0], np.cumsum(weights * values**power)]) for power in range(3))
    spread = np.full((len(values) + 1, len(values) + 1), np.inf)
    for start in range(len(values)):
        weight, moment = w[start + 1 :] - w[start], m[start + 1 :] - m[start]
        spread[start, start + 1 :] = q[start + 1 :] - q[start] - moment**2 / weight
    best = spread[0]
    for _ in range(1, num_clusters):
        best = np.minimum(best, (best[:, None] + spread).min(axis=0))
    return float(best[-1])


def draw(kind: str, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    values = {
        "normal": lambda: rng.normal(size=size),
        "heavy": lambda: rng.standard_t(2, size=size),
        "bimodal": lambda: rng.normal(size=size) * np.where(rng.random(size) < 0.5, 0.01, 1),
        "uniform": lambda: rng.random(size),
    }[kind]()
    return np.sort(values), rng.gamma(0.3, size=size)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("num_clusters", [1, 2, 3, 4])
def test_no_partition_of_few_values_is_better(num_clusters: int, weighted: bool) -> None:
    for seed in range(5):
        values, weights = draw("heavy", 8, seed)
        weights = weights if weighted else np.ones_like(values)
        inner = itertools.combinations(range(1, 8), num_clusters - 1)
        best = min(error_of(values, weights, [0, *cuts, 8]) for cuts in inner)
        assert cut(values, weights, num_clusters, num_cells=256)[0] == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["normal", "heavy", "bimodal", "uniform"])
def test_every_value_a_cell_gives_the_optimum(kind: str, weighted: bool) -> None:
    values, weights = draw(kind, 300, seed=1)
    weights = weights if weighted else np.ones_like(values)
    assert cut(values, weights, 16, num_cells=300)[0] == pytest.approx(
        full_program_error(values, weights, 16), rel=1e-9
    )


@pytest.mark.parametrize("num_clusters", [4, 16])
@pytest.mark.parametrize("kind", ["normal", "heavy", "bimodal", "uniform"])
def test_cells_and_windows_come_close_to_the_optimum(kind: str, num_clusters: int) -> None:
    values, weights = draw(kind, 800, seed=2)
    optimum = full_program_error(values, weights, num_clusters)
    error, _ = cut(values, weights, num_clusters, default_num_cells(num_clusters))
    assert optimum * (1 - 1e-9) <= error <= optimum * 1.003


@pytest.mark.parametrize("num_cells", [16, 32, 128])
def test_few_cells_keep_the_stated_bound(num_cells: int) -> None:
    values, weights = draw("normal", 500, seed=3)
    optimum = full_program_error(values, weights, 4)
    bound = 2 * ((values[-1] - values[0]) / (EVEN_SHARE * num_cells)) ** 2
    assert cut(values, weights, 4, num_cells)[0] <= optimum + bound * weights.sum()


def test_values_without_weight_do_not_count_and_keep_cuts_in_order() -> None:
    values, weights = draw("normal", 400, seed=4)
    heard = np.arange(400) % 3 == 0
    error, cuts = cut(values, np.where(heard, weights, 0.0), 8, num_cells=400)
    assert (np.diff(cuts) >= 0).all()
    assert error == pytest.approx(full_program_error(values[heard], weights[heard], 8), rel=1e-9)


def test_a_group_with_as_many_values_as_clusters_is_cut_between_them() -> None:
    values = np.repeat([-1.0, 0.5, 2.0], [3, 1, 4])
    _, cuts = cut(values, np.ones_like(values), 5, num_cells=256)
    assert cuts.tolist() == [0, 3, 4, 8, 8, 8]
