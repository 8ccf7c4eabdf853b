"""A model and a batch small enough for milliseconds, filled by numpy: compiling the real `init` takes seconds."""

import numpy as np
import pytest

from codling.data.loader import Batch


@pytest.fixture(scope="session")
def batch() -> Batch:
    """Four rows of two documents; the later rows have ever fewer positions to learn from."""
    random, shape = np.random.default_rng(1), (4, 10)
    tokens = random.integers(0, 61, size=(4, 11)).astype(np.int32)
    places = np.tile(np.arange(10, dtype=np.int32), (4, 1))
    weights = (places >= 3 * np.arange(4)[:, None]).astype(np.float32)
    segments = np.where(places < 6, 1, 2).astype(np.int32)
    assert weights.shape == shape
    return Batch(tokens[:, :-1], tokens[:, 1:], weights, segments, (places % 6).astype(np.int32))
