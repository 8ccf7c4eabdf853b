"""What a compressed model's figures say is what lies in its files."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from codling.artifact.model_files import load_compressed, stored_bits
from codling.artifact.workspace import SilentReporter, Workspace
from codling.compress.palettize import PalettizedMatrix
from codling.data.loader import Batch
from codling.ondevice.compress_blocks import CompressConfig
from codling.ondevice.compress_files import compress_files


def test_the_figures_are_those_of_the_files(pair: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    tokens, targets = random.integers(0, 600, size=(2, 16, 80)).astype(np.int32)
    positions = np.tile(np.arange(80, dtype=np.int32), (16, 1))
    ones = np.ones((16, 80), np.int32)
    batch = Batch(tokens, targets, ones.astype(np.float32), ones, positions)
    config = CompressConfig(target_bits_per_weight=5.0)
    out = Workspace("x", tmp_path, SilentReporter())
    figures = compress_files(pair.server, [batch], config, out, jax.random.key(0))
    stored = stored_bits(tmp_path)
    for name, value in stored._asdict().items():
        assert figures[name] == pytest.approx(value), name
    assert stored.bits_per_weight_projections <= 5.0
    matrices = load_compressed(tmp_path)
    assert figures["num_calibration_tokens"] == tokens.size
    for name, told in figures["matrices"].items():
        matrix = matrices[name]
        assert isinstance(matrix, PalettizedMatrix)
        assert told["width_bits"] == matrix.bits
        assert told["stored_bits_per_weight"] == pytest.approx(matrix.bits_per_weight().total)
