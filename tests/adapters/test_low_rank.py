"""The nearest matrix of a rank, by what errors cost: against the optimum found another way."""

import numpy as np
import pytest

from codling.adapters.low_rank import DAMPING, nearest_low_rank

OUT, IN = 12, 9


def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    mixed = random.normal(size=(40, IN)) @ random.normal(size=(IN, IN))
    return random.normal(size=(OUT, IN)), mixed.T @ mixed / 40, random.gamma(0.5, size=OUT)


def cost(error: np.ndarray, moments: np.ndarray, importance: np.ndarray) -> float:
    damped = moments + DAMPING * np.trace(moments) / len(moments) * np.eye(len(moments))
    weights = importance + DAMPING * importance.mean()
    return float((weights[:, None] * error @ damped * error).sum())


@pytest.mark.parametrize("rank", [1, 4, 9])
def test_no_change_of_the_factors_lowers_the_cost(rank: int) -> None:
    matrix, moments, importance = problem()
    down, up = nearest_low_rank(matrix, rank, moments, importance)
    best = cost(matrix - up @ down, moments, importance)
    # What is left are the singular values of the weighted matrix, by a symmetric root in place of Cholesky's.
    values, vectors = np.linalg.eigh(moments + DAMPING * np.trace(moments) / IN * np.eye(IN))
    root = vectors * np.sqrt(values) @ vectors.T
    weighted = np.sqrt(importance + DAMPING * importance.mean())[:, None] * matrix @ root
    singular = np.linalg.svd(weighted, compute_uv=False)
    assert best == pytest.approx(float((singular[rank:] ** 2).sum()), rel=1e-4, abs=1e-6)
    random = np.random.default_rng(1)
    for _ in range(20):
        other = (up + 1e-2 * random.normal(size=up.shape)) @ (down + 1e-2 * random.normal(size=down.shape))
        assert cost(matrix - other, moments, importance) >= best - 1e-6


def test_without_weights_it_is_the_plain_decomposition() -> None:
    matrix, _, _ = problem()
    down, up = nearest_low_rank(matrix, 3)
    left, singular, right = np.linalg.svd(matrix)
    np.testing.assert_allclose(up @ down, (left[:, :3] * singular[:3]) @ right[:3], atol=1e-5)


def test_weights_win_where_they_count() -> None:
    matrix, moments, importance = problem()
    plain, weighted = nearest_low_rank(matrix, 2), nearest_low_rank(matrix, 2, moments, importance)
    costs = [cost(matrix - found.up @ found.down, moments, importance) for found in (plain, weighted)]
    assert costs[1] < 0.8 * costs[0]


def test_the_factors_are_alike_in_size_and_nothing_is_lost_on_zeros() -> None:
    matrix, moments, importance = problem()
    down, up = nearest_low_rank(matrix, 4, moments, 1e-6 * importance)
    np.testing.assert_allclose(np.linalg.norm(down, axis=1), np.linalg.norm(up, axis=0), rtol=1e-5)
    down, up = nearest_low_rank(np.zeros((OUT, IN)), 4, np.zeros((IN, IN)), np.zeros(OUT))
    assert not up.any()
    assert not down.any()
