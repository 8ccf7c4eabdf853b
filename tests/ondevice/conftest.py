"""A model and rows of tokens that mean nothing, small enough for milliseconds."""

import numpy as np
import pytest

from codling.data.loader import Batch


@pytest.fixture(scope="session")
def small_batch() -> Batch:
    """Two rows of 12 tokens: two documents and padding, one document."""
    random = np.random.default_rng(1)
    segment_ids = np.asarray([[1] * 5 + [2] * 4 + [0] * 3, [1] * 12], np.int32)
    positions = np.asarray([[*range(5), *range(4), 0, 0, 0], [*range(12)]], np.int32)
    tokens, targets = random.integers(0, 61, size=(2, 2, 12)).astype(np.int32)
    return Batch(
        tokens=tokens,
        targets=targets,
        loss_weights=(segment_ids > 0).astype(np.float32),
        positions=positions,
        segment_ids=segment_ids,
    )
