"""The compressed device model: every matrix compressed, the bits counted, what each width would have cost kept."""

import json

import pytest

from codling.artifact.hf import WEIGHTS_FILE, model_tensors
from codling.artifact.model_files import load_model
from codling.artifact.tensor_files import read_tensors
from codling.compress.tensors import compressed_names
from tests.conftest import TinyBuild


def test_every_matrix_is_compressed_and_nothing_else(tiny_build: TinyBuild) -> None:
    dense = model_tensors(load_model(tiny_build.artifacts["device_aligned"].path))
    _, metadata = read_tensors(tiny_build.artifacts["device_compress"].path / WEIGHTS_FILE)
    assert set(compressed_names(metadata)) == {name for name, tensor in dense.items() if tensor.ndim == 2}


def test_the_bits_are_those_of_the_file(tiny_build: TinyBuild) -> None:
    artifact = tiny_build.artifacts["device_compress"]
    tensors, _ = read_tensors(artifact.path / WEIGHTS_FILE)
    size_bytes = sum(tensor.nbytes for tensor in tensors.values())
    num_weights = sum(
        tensor.size for tensor in model_tensors(load_model(tiny_build.artifacts["device_aligned"].path)).values()
    )
    assert artifact.manifest.metrics["size_bytes"] == size_bytes
    assert artifact.manifest.metrics["bits_per_weight_total"] == pytest.approx(8 * size_bytes / num_weights)
    assert artifact.manifest.metrics["bits_per_weight_projections"] <= 3.7


def test_what_each_width_would_have_cost_is_kept(tiny_build: TinyBuild) -> None:
    matrices = tiny_build.artifacts["device_compress"].manifest.metrics["matrices"]
    assert len(matrices) == 14
    for matrix in matrices.values():
        assert matrix["width_bits"] in (2, 4)
        assert matrix["nats_per_token"].keys() == {"2", "4"}


def test_other_runtimes_are_told_that_they_cannot_read_it(tiny_build: TinyBuild) -> None:
    config = json.loads((tiny_build.artifacts["device_compress"].path / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == "codling_palettized"
