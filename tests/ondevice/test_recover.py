"""The recovery adapter: starts nearer to the original than its base, belongs to it, and says how much it won back."""

from dataclasses import replace
from pathlib import Path

import jax
import pytest

from codling.adapters.lora import attach_residual, merge
from codling.artifact.adapter_files import attach_adapter
from codling.artifact.hf import model_tensors
from codling.artifact.model_files import load_model
from codling.artifact.workspace import SilentReporter, Workspace
from codling.errors import UserError
from codling.ondevice.recover import run_recover
from codling.recipes.tiny import tiny
from tests.conftest import TinyBuild


def test_the_start_is_nearer_to_the_original_than_the_base(tiny_build: TinyBuild) -> None:
    original, base = (load_model(tiny_build.artifacts[f"device_{name}"].path) for name in ("sft", "palettize"))
    start = merge(attach_residual(base, original, rank=4))
    name = "model.layers.0.mlp.up_proj.weight"
    target, before, after = (model_tensors(model)[name] for model in (original, base, start))
    assert ((target - after) ** 2).sum() < 0.9 * ((target - before) ** 2).sum()


def test_the_figures_follow_from_each_other(tiny_build: TinyBuild) -> None:
    metrics = tiny_build.artifacts["device_recover"].manifest.metrics
    mean = {
        name: sum(figures["nll_by_kind"].values()) / len(figures["nll_by_kind"])
        for name, figures in metrics["heldout"].items()
    }
    assert set(mean) == {"dense", "palettized", "adapter_start", "recovered"}
    assert metrics["nll_lost"] == pytest.approx(mean["palettized"] - mean["dense"])
    if metrics["nll_lost"] > 0:
        won_back = (mean["palettized"] - mean["recovered"]) / metrics["nll_lost"]
        assert metrics["share_won_back"] == pytest.approx(won_back)


def test_the_adapter_fits_its_base_and_no_other(tiny_build: TinyBuild) -> None:
    adapter = tiny_build.artifacts["device_recover"].path / "adapter"
    base = tiny_build.artifacts["device_palettize"].path
    attach_adapter(load_model(base), adapter, base)
    other = tiny_build.artifacts["device_sft"].path
    with pytest.raises(UserError, match="trained for another base"):
        attach_adapter(load_model(other), adapter, other)


def test_a_rank_beyond_a_dimension_is_refused(tiny_build: TinyBuild, tmp_path: Path) -> None:
    inputs = tiny_build.inputs(tokens="tokens", model="device_palettize", teacher="device_sft")
    config = replace(tiny().device_recover, rank=1000)
    with pytest.raises(UserError, match="adapter rank 1000 does not fit"):
        run_recover(config, inputs, Workspace("x", tmp_path, SilentReporter()), jax.random.key(0))
    assert not list(tmp_path.iterdir())
