"""A palettized model: every matrix compressed, what is read back is what was measured, the bits are counted."""

import json

import numpy as np
import pytest

from codling.artifact.hf import WEIGHTS_FILE, model_tensors
from codling.artifact.model_files import load_model
from codling.artifact.tensor_files import read_tensors
from codling.compress.embedding_quant import quantize_embedding
from codling.compress.palettize import palettize
from codling.compress.tensors import compressed_names
from tests.conftest import TinyBuild


def test_every_matrix_is_compressed_and_nothing_else(tiny_build: TinyBuild) -> None:
    dense = model_tensors(load_model(tiny_build.artifacts["device_aligned"].path))
    _, metadata = read_tensors(tiny_build.artifacts["device_palettize"].path / WEIGHTS_FILE)
    assert set(compressed_names(metadata)) == {name for name, tensor in dense.items() if tensor.ndim == 2}


def test_what_is_read_back_is_what_the_algorithms_give(tiny_build: TinyBuild) -> None:
    dense = model_tensors(load_model(tiny_build.artifacts["device_aligned"].path))
    read = model_tensors(load_model(tiny_build.artifacts["device_palettize"].path))
    for name in ("model.embed_tokens.weight", "model.layers.1.mlp.gate_proj.weight"):
        compress = quantize_embedding if "embed" in name else palettize
        np.testing.assert_array_equal(read[name], compress(dense[name]).dequantize())
    np.testing.assert_array_equal(read["model.norm.weight"], dense["model.norm.weight"])


def test_the_bits_are_those_of_the_file(tiny_build: TinyBuild) -> None:
    artifact = tiny_build.artifacts["device_palettize"]
    tensors, _ = read_tensors(artifact.path / WEIGHTS_FILE)
    size_bytes = sum(tensor.nbytes for tensor in tensors.values())
    num_weights = sum(
        tensor.size for tensor in model_tensors(load_model(tiny_build.artifacts["device_aligned"].path)).values()
    )
    assert artifact.manifest.metrics["size_bytes"] == size_bytes
    assert artifact.manifest.metrics["bits_per_weight_total"] == pytest.approx(8 * size_bytes / num_weights)
    assert artifact.manifest.metrics["bits_per_weight_projections"] > 4


def test_other_runtimes_are_told_that_they_cannot_read_it(tiny_build: TinyBuild) -> None:
    config = json.loads((tiny_build.artifacts["device_palettize"].path / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == "codling_palettized"
