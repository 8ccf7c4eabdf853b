"""A feature adapter: starts from the recovery adapter, belongs to the same base, and leaves that alone."""

from pathlib import Path

import jax
import pytest

from codling.artifact.adapter_files import attach_adapter
from codling.artifact.manifest import file_sha256
from codling.artifact.model_files import load_model
from codling.artifact.tensor_files import read_tensors
from codling.artifact.workspace import SilentReporter, Workspace
from codling.errors import UserError
from codling.ondevice.adapt import run_adapt
from codling.ondevice.recover import ADAPTER_DIRECTORY
from codling.recipes.tiny import tiny
from tests.conftest import TinyBuild


def test_it_differs_from_where_it_started_and_the_base_is_as_it_was(tiny_build: TinyBuild) -> None:
    base = tiny_build.artifacts["device_recover"].path
    before = file_sha256(base / "model.safetensors")
    started, _ = read_tensors(base / ADAPTER_DIRECTORY / "adapter_model.safetensors")
    for name in tiny().device_features:
        adapter = tiny_build.artifacts[f"device_adapt_{name}"]
        ended, _ = read_tensors(adapter.path / "adapter_model.safetensors")
        assert ended.keys() == started.keys()
        assert any((ended[key] != started[key]).any() for key in started)
        attach_adapter(load_model(base), adapter.path, base)
        assert adapter.manifest.metrics["nll_after"].keys() == adapter.manifest.metrics["nll_before"].keys()
    assert file_sha256(base / "model.safetensors") == before


def test_a_base_without_this_adapter_is_refused(tiny_build: TinyBuild, tmp_path: Path) -> None:
    inputs = tiny_build.inputs(tokens="tokens", model="device_compress")
    with pytest.raises(UserError, match=r"adapter_config\.json"):
        run_adapt(
            tiny().device_features["intents"], inputs, Workspace("x", tmp_path, SilentReporter()), jax.random.key(0)
        )
    assert not list(tmp_path.iterdir())
