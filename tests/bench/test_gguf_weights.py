"""What we export comes back, whatever the architecture: `llama` has its queries and keys in another order."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from codling.artifact.bundle import Bundle, load_bundle
from codling.artifact.gguf_file import export_gguf, neighbor_pairs
from codling.artifact.hf import model_tensors
from codling.artifact.import_checkpoint import import_checkpoint
from codling.bench.gguf_weights import half_pairs, read_gguf_weights
from codling.errors import UserError
from tests.foreign_checkpoint import write_checkpoint

TOLERANCES = {"f32": 0.0, "f16": 2**-11, "q8_0": 1 / 127}
"""Of a weight, relative to the largest of its tensor."""


@pytest.fixture(scope="module", params=["qwen3", "llama"])
def bundle(request: pytest.FixtureRequest, pair: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    if request.param == "qwen3":
        return load_bundle(pair.server)
    place = tmp_path_factory.mktemp("llama")
    import_checkpoint(write_checkpoint(place / "theirs", "llama", begins=True), place / "ours")
    return load_bundle(place / "ours")


@pytest.mark.parametrize("weight_type", TOLERANCES)
def test_exported_weights_come_back(bundle: Bundle, tmp_path: Path, weight_type: str) -> None:
    export_gguf(bundle, tmp_path / "out.gguf", weight_type)
    found, expected = read_gguf_weights(tmp_path / "out.gguf", bundle.model.config), model_tensors(bundle.model)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert np.abs(found[name].values - values).max() <= TOLERANCES[weight_type] * np.abs(values).max()
        assert found[name].stored_bits >= (16 if weight_type == "f16" else 8.5) * values.size
        if weight_type == "f32" or values.ndim == 1:
            assert found[name].stored_bits == 32 * values.size


def test_half_pairs_take_neighbor_pairs_back() -> None:
    weights = np.random.default_rng(0).normal(size=(24, 5))
    np.testing.assert_array_equal(half_pairs(neighbor_pairs(weights, 3), 3), weights)


def test_a_file_of_another_model_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "out.gguf", "llama")
    writer.add_tensor("token_embd.weight", np.zeros((2, 2), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UserError, match=r"holds no tensor 'token_embd.weight' of shape"):
        read_gguf_weights(tmp_path / "out.gguf", bundle.model.config)
