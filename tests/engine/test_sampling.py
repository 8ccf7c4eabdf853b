import numpy as np

from codling.engine.sampling import Sampling, draw


def test_the_default_takes_the_first_of_the_most_likely() -> None:
    logits = np.asarray([0.0, 3.0, 1.0, 3.0], np.float32)
    assert draw(logits, Sampling(), np.random.default_rng(0)) == 1


def test_draws_follow_the_softmax() -> None:
    logits, random = np.asarray([1.0, 0.0, 2.0, -50.0], np.float32), np.random.default_rng(0)
    drawn = [draw(logits, Sampling(temperature=0.5), random) for _ in range(4000)]
    weights = np.exp(logits.astype(np.float64) / 0.5)
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 4000, weights / weights.sum(), atol=0.02)


def test_one_seed_draws_the_same() -> None:
    logits = np.random.default_rng(1).normal(size=50).astype(np.float32)
    first, second = (
        [draw(logits, Sampling(1.0), random) for _ in range(20)] for random in map(np.random.default_rng, (7, 7))
    )
    assert first == second


def test_extreme_logits_overflow_nothing() -> None:
    logits = np.asarray([1e30, -1e30, 1e30], np.float32)
    assert draw(logits, Sampling(temperature=1e-3), np.random.default_rng(0)) in (0, 2)
