from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codling.artifact.bundle import load_bundle
from codling.artifact.hf import EMBEDDING_NAME, FINAL_NORM_NAME, tensor_shapes
from codling.bench.peer_result import PeerInput, StoredWeight, dense_projections, peer_result, with_our_embedding


@pytest.fixture
def given(pair: Any, tmp_path: Path) -> PeerInput:
    return PeerInput(load_bundle(pair.server), [], tmp_path, None, print)


def test_bits_are_of_the_projections_and_of_everything() -> None:
    stored = {
        EMBEDDING_NAME: StoredWeight(np.zeros((4, 8), np.float32), 32 * 8.0),
        FINAL_NORM_NAME: StoredWeight(np.zeros(8, np.float32), 8 * 32.0),
        "model.layers.0.mlp.up_proj.weight": StoredWeight(np.zeros((4, 8), np.float32), 32 * 3.0),
        "model.layers.0.mlp.down_proj.weight": StoredWeight(np.zeros((8, 4), np.float32), 32 * 5.0),
    }
    result = peer_result("a peer", stored)
    assert result.name == "a peer"
    assert result.weights.keys() == stored.keys()
    assert result.bits_per_weight_projections == 4
    assert result.bits_per_weight_total == pytest.approx((32 * 16 + 8 * 32) / (3 * 32 + 8))


def test_what_a_peer_leaves_is_stored_as_ours(given: PeerInput) -> None:
    projections = {
        name: StoredWeight(np.zeros_like(values), 2.0 * values.size)
        for name, values in dense_projections(given).items()
    }
    result = with_our_embedding("a peer", given, projections)
    config = given.bundle.model.config
    assert {name: values.shape for name, values in result.weights.items()} == tensor_shapes(config)
    assert len(projections) == 7 * config.num_layers
    assert all((result.weights[name] == 0).all() for name in projections)
    dense = np.asarray(given.bundle.model.embedding)
    assert 0 < np.abs(result.weights[EMBEDDING_NAME] - dense).max() <= np.abs(dense).max() / 127
    np.testing.assert_array_equal(result.weights[FINAL_NORM_NAME], given.bundle.model.final_norm.scale)
    num_norms = sum(values.size for values in result.weights.values() if values.ndim == 1)
    num_projections = sum(one.values.size for one in projections.values())
    bits = 2 * num_projections + dense.size * 8 + len(dense) * 32 + num_norms * 32
    assert result.bits_per_weight_projections == 2
    assert result.bits_per_weight_total == pytest.approx(bits / (num_projections + dense.size + num_norms))
