import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from codling.adapters.lora import merge
from codling.artifact.adapter_files import attach_adapter, save_adapter
from codling.artifact.hf import model_tensors
from codling.artifact.model_files import load_model
from codling.artifact.tensor_files import read_tensors, write_tensors
from codling.errors import UserError
from tests.adapted import with_residual

HALF_PRECISION = 1e-2


@pytest.fixture
def device(pair: Any, tmp_path: Path) -> Path:
    return shutil.copytree(pair.device, tmp_path / "device")


def test_an_adapter_comes_back_in_half_precision(pair: Any, device: Path, tmp_path: Path) -> None:
    base = load_model(device)
    adapted = with_residual(base, pair.model, rank=3)
    save_adapter(tmp_path / "adapter", adapted, device)
    before = model_tensors(merge(adapted))
    after = model_tensors(merge(attach_adapter(base, tmp_path / "adapter", device)))
    for name in before:
        np.testing.assert_allclose(after[name], before[name], atol=HALF_PRECISION)
    assert any((after[name] != model_tensors(base)[name]).any() for name in before)


def test_files_are_laid_out_as_peft_reads_them(pair: Any, device: Path) -> None:
    folder = device / "adapters" / "recovery"
    values = json.loads((folder / "adapter_config.json").read_text())
    assert (values["peft_type"], values["r"], values["lora_alpha"]) == ("LORA", 2, 2)
    assert values["target_modules"] == ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    tensors, _ = read_tensors(folder / "adapter_model.safetensors")
    config = pair.model.config
    assert tensors["base_model.model.model.layers.1.mlp.up_proj.lora_A.weight"].shape == (2, config.model_dim)
    assert tensors["base_model.model.model.layers.1.mlp.up_proj.lora_B.weight"].shape == (config.ffn_dim, 2)
    assert len(tensors) == 2 * 7 * config.num_layers


def test_the_same_adapter_gives_the_same_bytes(pair: Any, device: Path, tmp_path: Path) -> None:
    adapted = with_residual(load_model(device), pair.model, rank=2)
    for name in ("one", "two"):
        save_adapter(tmp_path / name, adapted, device)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_another_base_is_refused(pair: Any, device: Path) -> None:
    with pytest.raises(UserError, match="trained for another base"):
        attach_adapter(load_model(pair.server), device / "adapters" / "recovery", pair.server)
    with pytest.raises(UserError, match="trained for another base"):
        attach_adapter(load_model(device), device / "adapters" / "recovery", device, base_sha256="0" * 64)


def test_a_missing_tensor_is_named(device: Path) -> None:
    path = device / "adapters" / "recovery" / "adapter_model.safetensors"
    tensors, _ = read_tensors(path)
    removed = sorted(tensors)[0]
    write_tensors(path, {name: tensor for name, tensor in tensors.items() if name != removed}, {})
    with pytest.raises(UserError, match=f"tensor '{removed}' is missing"):
        attach_adapter(load_model(device), path.parent, device)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r": 3}, r"has shape \[2, 16\], need \[3, 16\]"),
        ({"r": "2"}, "the rank 'r' is missing"),
        ({"r": None}, "rank"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(device: Path, change: dict[str, object], message: str) -> None:
    path = device / "adapters" / "recovery" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message):
        attach_adapter(load_model(device), path.parent, device)


def test_nothing_but_projections_is_adapted(pair: Any, device: Path) -> None:
    base = load_model(device)
    adapted = attach_adapter(base, device / "adapters" / "recovery", device)
    np.testing.assert_array_equal(adapted.embedding, base.embedding)
    for before, after in zip(jax.tree.leaves(base.final_norm), jax.tree.leaves(adapted.final_norm), strict=True):
        np.testing.assert_array_equal(before, after)
