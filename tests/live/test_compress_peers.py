"""The peers of `codling bench compress` themselves, on a model of random weights: `pytest -m live`.

coremltools and GPTQ need the packages that their modules name, llama.cpp its programs on the PATH.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.artifact.hf import model_tensors, tensor_shapes
from codling.artifact.model_files import load_model, save_model
from codling.bench.compress_coreml import ROWS_PER_TABLE, palettize_linears
from codling.bench.compress_gptq import SETTINGS
from codling.bench.compress_llama import QUANTIZE, TYPES, find_tools
from codling.bench.compress_peers import peer_results
from codling.bench.gguf_weights import read_gguf_weights
from codling.bench.peer_result import PeerResult, is_projection
from codling.compress.palettize import palettize
from codling.model.config import ModelConfig
from codling.model.init import init_transformer
from codling.model.transformer import Transformer

pytestmark = [pytest.mark.live, pytest.mark.filterwarnings("default")]

TEXTS = ["Alice was beginning to get very tired of sitting by her sister on the bank.", "Oh dear! Oh dear!"] * 200
MAX_RELATIVE_ERRORS = {5: 0.1, 4: 0.2, 3: 0.45, 2: 0.6}
"""Root mean square of a projection's errors over that of its weights, by whole stored bits a weight."""


@pytest.fixture(scope="module")
def bundle(pair: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a width that all of llama.cpp's blocks divide."""
    directory = tmp_path_factory.mktemp("wide") / "server"
    shutil.copytree(pair.server, directory)
    shape = ModelConfig(
        vocab_size=pair.tokenizer.vocab_size,
        model_dim=256,
        ffn_dim=512,
        num_layers=1,
        num_query_heads=8,
        num_kv_heads=4,
        head_dim=32,
        context_length_tokens=128,
    )
    random = np.random.default_rng(0)
    model: Transformer = jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(size=leaf.shape) / leaf.shape[-1] ** 0.5, jnp.float32),
        eqx.filter_eval_shape(init_transformer, shape, jax.random.key(0)),
    )
    save_model(directory, model, tokenizer_sha256=pair.tokenizer.sha256)
    return directory


def check(results: list[PeerResult], bundle: Path) -> None:
    """All is there, moved, and not by more than so few bits must."""
    model = load_model(bundle)
    dense = model_tensors(model)
    for result in results:
        assert {name: values.shape for name, values in result.weights.items()} == tensor_shapes(model.config)
        for name, values in result.weights.items():
            error = np.sqrt(((values - dense[name]) ** 2).mean() / (dense[name] ** 2).mean())
            if values.ndim == 1:
                assert error == 0, (result.name, name)
            else:
                bits = result.bits_per_weight_projections if is_projection(name, values) else 3
                assert 0 < error < MAX_RELATIVE_ERRORS[int(bits)], (result.name, name)


def test_llama_cpp(bundle: Path, tmp_path: Path) -> None:
    tools = find_tools(None)
    results = list(peer_results(bundle, TEXTS, tmp_path, ["llama.cpp"]))
    assert [result.name.split()[1] for result in results] == list(TYPES)
    check(results, bundle)
    four, zero, four_extra_small, three, three_irregular, three_small, two = (
        result.bits_per_weight_projections for result in results
    )
    assert 4.5 <= zero <= four < 5.5
    assert four_extra_small < 4.6
    assert 3.4 <= three_small <= three_irregular + 0.1 <= three + 0.1 < 4.6
    assert 2.6 <= two < 3.4
    # What we read is what llama.cpp reads: it makes the file dense itself.
    config = load_model(bundle).config
    for name in TYPES:
        small, dense = tmp_path / "small.gguf", tmp_path / "again.gguf"
        subprocess.run(
            [tools[QUANTIZE], "--imatrix", tmp_path / "imatrix.gguf", tmp_path / "dense.gguf", small, name], check=True
        )
        subprocess.run([tools[QUANTIZE], "--allow-requantize", small, dense, "F32"], check=True)
        theirs = read_gguf_weights(dense, config)
        for key, weight in read_gguf_weights(small, config).items():
            assert theirs[key].stored_bits == 32 * theirs[key].values.size
            np.testing.assert_allclose(weight.values, theirs[key].values, rtol=1e-6, atol=1e-7)


def test_coremltools(bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("coremltools")
    results = list(peer_results(bundle, TEXTS, tmp_path, ["coremltools"]))
    check(results, bundle)
    assert [result.bits_per_weight_projections for result in results] == pytest.approx([4.05, 2.01], abs=0.02)


@pytest.mark.parametrize("width_bits", [4, 2])
def test_coremltools_finds_the_tables_that_ours_are_before_rounding(width_bits: int) -> None:
    """Both solve one-dimensional k-means exactly, so that ours lose what int8 tables lose, and no more."""
    pytest.importorskip("coremltools")
    weight = np.random.default_rng(0).normal(size=(32, 256)).astype(np.float32)
    theirs = palettize_linears({"w": weight}, width_bits)["w"].values
    assert [len(np.unique(theirs[rows])) for rows in (slice(16), slice(16, 32))] == [1 << width_bits] * 2
    ours = palettize(weight, width_bits, ROWS_PER_TABLE).dequantize()
    their_error, our_error = (((values - weight) ** 2).mean() for values in (theirs, ours))
    assert their_error * 0.999 < our_error < their_error * 1.01


def test_gptq(bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("llmcompressor")
    results = list(peer_results(bundle, TEXTS, tmp_path, ["gptq", "nearest"]))
    check(results, bundle)
    for result in results[: len(SETTINGS)]:
        assert "GPTQ" in result.name
        # The weights lie on the grid that their bits pay for: no group of a row has more values than it may.
        setting = SETTINGS[results.index(result)]
        for name, weight in result.weights.items():
            if is_projection(name, weight):
                groups = weight.reshape(-1, setting.group_size)
                assert max(len(np.unique(group)) for group in groups) <= 1 << setting.width_bits, name
