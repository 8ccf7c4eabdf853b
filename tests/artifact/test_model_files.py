import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from codling.artifact.hf import EMBEDDING_NAME, model_tensors
from codling.artifact.model_files import (
    OWN_SPECIAL_IDS,
    load_config,
    load_model,
    save_compressed_files,
    save_compressed_model,
    save_model,
    special_ids_of,
    tokenizer_of,
)
from codling.artifact.tensor_files import read_tensors, write_tensors
from codling.compress.embedding_quant import quantize_embedding
from codling.compress.palettize import palettize
from codling.compress.tensors import Compressed
from codling.errors import UserError
from codling.model.transformer import Transformer

PALETTIZED_ERROR = 0.2
"""Relative: sixteen values in place of normally distributed weights."""


def compress(model: Transformer) -> dict[str, Compressed]:
    matrices = {name: tensor for name, tensor in model_tensors(model).items() if tensor.ndim == 2}
    return {
        name: quantize_embedding(matrix, name=name) if name == EMBEDDING_NAME else palettize(matrix, 4, 16, name=name)
        for name, matrix in matrices.items()
    }


def test_a_dense_model_survives_a_round_trip(tmp_path: Path, pair: Any) -> None:
    save_model(tmp_path, pair.model, tokenizer_sha256="abc")
    loaded = load_model(tmp_path)
    assert loaded.config == load_config(tmp_path) == pair.model.config
    for before, after in zip(jax.tree.leaves(pair.model), jax.tree.leaves(loaded), strict=True):
        np.testing.assert_array_equal(before, after)
    assert tokenizer_of(tmp_path) == "abc"


def test_the_same_model_gives_the_same_bytes(tmp_path: Path, pair: Any) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save_compressed_model(tmp_path / name, pair.model, compress(pair.model), tokenizer_sha256="abc")
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_compressed_model_comes_back_as_what_its_tables_stand_for(tmp_path: Path, pair: Any) -> None:
    compressed = compress(pair.model)
    save_compressed_model(tmp_path, pair.model, compressed, tokenizer_sha256="abc")
    loaded = model_tensors(load_model(tmp_path))
    for name, tensor in model_tensors(pair.model).items():
        if name in compressed:
            np.testing.assert_array_equal(loaded[name], compressed[name].dequantize())
            error = np.linalg.norm(loaded[name] - tensor) / np.linalg.norm(tensor)
            assert 0 < error < PALETTIZED_ERROR
        else:
            np.testing.assert_array_equal(loaded[name], tensor)


def test_files_are_compressed_one_tensor_after_the_other(tmp_path: Path, pair: Any) -> None:
    for name in ("dense", "whole", "small", "changed"):
        (tmp_path / name).mkdir()
    save_model(tmp_path / "dense", pair.model, tokenizer_sha256="abc")
    compressed, name = compress(pair.model), "model.layers.1.input_layernorm.weight"
    save_compressed_model(tmp_path / "whole", pair.model, compressed, tokenizer_sha256="abc")
    save_compressed_files(tmp_path / "small", tmp_path / "dense", compressed)
    ones = np.ones(pair.model.config.model_dim, np.float32)
    save_compressed_files(tmp_path / "changed", tmp_path / "dense", compressed, {name: ones})
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "small" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    small, changed = (model_tensors(load_model(tmp_path / side)) for side in ("small", "changed"))
    assert {key for key, tensor in small.items() if not np.array_equal(tensor, changed[key])} == {name}
    np.testing.assert_array_equal(changed[name], ones)


def test_other_runtimes_are_told_that_a_model_is_compressed(tmp_path: Path, pair: Any) -> None:
    save_compressed_model(tmp_path, pair.model, compress(pair.model), tokenizer_sha256="abc")
    values = json.loads((tmp_path / "config.json").read_text())
    assert values["quantization_config"]["quant_method"] == "codling_palettized"


@pytest.mark.parametrize("side", ["server", "device"])
def test_a_missing_tensor_is_named(tmp_path: Path, pair: Any, side: str) -> None:
    directory = shutil.copytree(getattr(pair, side), tmp_path / "copy")
    tensors, metadata = read_tensors(directory / "model.safetensors")
    missing = next(name for name in sorted(tensors) if "q_proj" in name)
    metadata.pop("format", None)
    write_tensors(directory / "model.safetensors", {k: v for k, v in tensors.items() if k != missing}, metadata)
    with pytest.raises(UserError, match=missing.replace(".", r"\.")):
        load_model(directory)


@pytest.mark.parametrize("kept_bytes", [0, 4, 100, -1])
def test_truncated_weights_are_refused(tmp_path: Path, pair: Any, kept_bytes: int) -> None:
    directory = shutil.copytree(pair.server, tmp_path / "copy")
    weights = directory / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept_bytes])
    with pytest.raises(UserError, match=r"model\.safetensors: not readable as safetensors, perhaps truncated"):
        load_model(directory)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, pair: Any, name: str) -> None:
    directory = shutil.copytree(pair.server, tmp_path / "copy")
    (directory / name).unlink()
    with pytest.raises(UserError, match=f"{name}: no such file"):
        load_model(directory)


def test_a_config_that_names_no_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="does not name its tokenizer"):
        tokenizer_of(tmp_path)


def test_special_ids_are_handed_on(tmp_path: Path, pair: Any) -> None:
    save_model(tmp_path, pair.model, tokenizer_sha256="abc")
    assert special_ids_of(tmp_path) == OWN_SPECIAL_IDS
    save_model(tmp_path, pair.model, tokenizer_sha256="abc", special_ids={"eos": [5, 7]})
    assert special_ids_of(tmp_path) == {"eos": [5, 7]}
