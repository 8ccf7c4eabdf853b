"""A bundle compressed for a text: the same bytes each time, near to the bundle that it was made from."""

import shutil
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from codling.artifact.bundle import load_bundle
from codling.artifact.hf import EMBEDDING_NAME, FINAL_NORM_NAME, WEIGHTS_FILE, model_tensors
from codling.artifact.manifest import file_sha256
from codling.artifact.tensor_files import read_tensors, write_tensors
from codling.artifact.workspace import SilentReporter
from codling.evaluate.perplexity import read_text
from codling.ondevice.compress_blocks import CompressConfig
from codling.ondevice.compress_bundle import CalibrationConfig, calibration_batches, compress_bundle

TEXT = Path(__file__).parents[1] / "data" / "alice.txt"


def test_the_same_bytes_each_time_and_a_model_that_reads_back(pair: Any, tmp_path: Path) -> None:
    config, calibration = CompressConfig(target_bits_per_weight=4.0), CalibrationConfig(max_tokens=4096)
    made = [
        compress_bundle(pair.server, read_text(TEXT), tmp_path / name, config, calibration, 0, SilentReporter())
        for name in ("one", "other")
    ]
    assert made[0].manifest.id == made[1].manifest.id
    assert made[0].manifest.files_sha256 == made[1].manifest.files_sha256
    metrics = made[0].manifest.metrics
    assert metrics["size_bytes"] == pytest.approx((tmp_path / "one" / "model.safetensors").stat().st_size, rel=0.4)
    assert file_sha256(tmp_path / "one" / "model.safetensors") == file_sha256(tmp_path / "other" / "model.safetensors")
    small = model_tensors(load_bundle(tmp_path / "one").model)
    for name, tensor in model_tensors(pair.model).items():
        if tensor.ndim == 1:
            np.testing.assert_array_equal(small[name], tensor)
        elif name == EMBEDDING_NAME:
            np.testing.assert_allclose(small[name], tensor, atol=np.abs(tensor).max() / 250)
        else:
            # Rows of a table differ by their scales.
            width_bits = metrics["matrices"][name]["width_bits"]
            assert max(len(np.unique(row)) for row in small[name]) <= 1 << width_bits


@pytest.mark.parametrize("residual", [False, True])
def test_a_rotated_bundle_is_a_bundle_like_any_other(pair: Any, tmp_path: Path, residual: bool) -> None:
    server = shutil.copytree(pair.server, tmp_path / "server")
    tensors, _ = read_tensors(server / WEIGHTS_FILE)
    write_tensors(server / WEIGHTS_FILE, tensors | {FINAL_NORM_NAME: np.full(16, 0.5, np.float32)}, {})
    config = CompressConfig(target_bits_per_weight=9.0, rotate_values=True, rotate_residual=residual)
    calibration = CalibrationConfig(max_tokens=2048)
    compress_bundle(server, read_text(TEXT), tmp_path / "small", config, calibration, 0, SilentReporter())
    dense, small = load_bundle(server).model, load_bundle(tmp_path / "small").model
    assert (np.asarray(small.blocks.attention_norm.scale) == 1).all() == residual
    assert (np.asarray(small.blocks.feed_forward_norm.scale) == 1).all() == residual
    assert np.allclose(small.embedding, dense.embedding, atol=0.05) != residual
    positions = jnp.arange(40, dtype=jnp.int32)[None]
    rows = positions * 13, positions, jnp.ones_like(positions)
    said = [np.asarray(model.logits(model(*rows, rope_theta=model.config.rope_theta))) for model in (dense, small)]
    # Of random weights; nothing is left of it where a part is not rotated as the others are.
    assert np.corrcoef(said[0].ravel(), said[1].ravel())[0, 1] > 0.8


def test_rows_are_drawn_from_all_over_the_text_and_no_more_than_asked_for(pair: Any) -> None:
    documents = read_text(TEXT)
    config = CalibrationConfig(max_tokens=2048, row_length_tokens=64)
    batches = calibration_batches(documents, pair.tokenizer, config, context_length_tokens=96)
    assert sum(batch.tokens.size for batch in batches) == 2048
    assert {batch.tokens.shape for batch in batches} == {(8, 64)}
    whole = calibration_batches(documents, pair.tokenizer, CalibrationConfig(max_tokens=10**9), 96)
    num_tokens = len(pair.tokenizer.encode(documents[0]))
    assert sum(int((batch.segment_ids > 0).sum()) for batch in whole) == num_tokens


@pytest.mark.parametrize("values", [{"max_tokens": 0}, {"row_length_tokens": 0}])
def test_sizes_without_meaning_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        CalibrationConfig(**values)
