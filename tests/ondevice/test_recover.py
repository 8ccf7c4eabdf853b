"""The recovery adapter: belongs to its base, and says how much it won back."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from codling.artifact.adapter_files import attach_adapter
from codling.artifact.model_files import load_compressed, load_model
from codling.artifact.workspace import SilentReporter, Workspace
from codling.compress.palettize import PalettizedMatrix
from codling.errors import UserError
from codling.ondevice.recover import ADAPTER_DIRECTORY, run_recover
from codling.recipes.tiny import tiny
from tests.conftest import TinyBuild


def test_the_figures_follow_from_each_other(tiny_build: TinyBuild) -> None:
    metrics = tiny_build.artifacts["device_recover"].manifest.metrics
    divergence = metrics["divergence"]
    assert list(divergence) == ["dense", "palettized", "adapter_start", "recovered"]
    assert divergence == {name: found["divergence"]["mean_nats"] for name, found in metrics["heldout"].items()}
    assert divergence["dense"] == 0
    assert divergence["recovered"] < divergence["palettized"]
    won_back = (divergence["palettized"] - divergence["recovered"]) / divergence["palettized"]
    assert metrics["share_won_back"] == pytest.approx(won_back)


@pytest.mark.parametrize("trains_tables", [True, False])
def test_the_base_stays_or_has_other_tables_and_the_same_indices(
    tiny_build: TinyBuild, tmp_path: Path, trains_tables: bool
) -> None:
    inputs = tiny_build.inputs(tokens="tokens", model="device_compress", teacher="device_aligned")
    config = replace(tiny().device_recover, trains_tables=trains_tables, hidden_weight=0.1)
    run_recover(config, inputs, Workspace("x", tmp_path, SilentReporter()), jax.random.key(0))
    before, after = (load_compressed(path) for path in (inputs["model"].path, tmp_path))
    assert before.keys() == after.keys()
    moved = 0
    for name, matrix in before.items():
        other = after[name]
        if not isinstance(matrix, PalettizedMatrix):
            continue
        assert isinstance(other, PalettizedMatrix)
        moved += not np.array_equal(matrix.tables, other.tables)
        agree = np.mean(matrix.indices == other.indices)
        assert agree > 0.9  # but for entries that passed each other
    assert bool(moved) == trains_tables
    attach_adapter(load_model(tmp_path), tmp_path / ADAPTER_DIRECTORY, tmp_path)


def test_the_adapter_fits_its_base_and_no_other(tiny_build: TinyBuild) -> None:
    base = tiny_build.artifacts["device_recover"].path
    adapter = base / ADAPTER_DIRECTORY
    attach_adapter(load_model(base), adapter, base)
    other = tiny_build.artifacts["device_sft"].path
    with pytest.raises(UserError, match="trained for another base"):
        attach_adapter(load_model(other), adapter, other)


def test_a_rank_beyond_a_dimension_is_refused(tiny_build: TinyBuild, tmp_path: Path) -> None:
    inputs = tiny_build.inputs(tokens="tokens", model="device_compress", teacher="device_aligned")
    config = replace(tiny().device_recover, rank=1000)
    with pytest.raises(UserError, match="adapter rank 1000 does not fit"):
        run_recover(config, inputs, Workspace("x", tmp_path, SilentReporter()), jax.random.key(0))
    assert not list(tmp_path.iterdir())


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="hidden_weight must not be negative"):
        replace(tiny().device_recover, hidden_weight=-1.0)
