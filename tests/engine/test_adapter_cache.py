"""Adapters of a bundle, of other directories, and what is none."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codling.engine.engine import Engine
from codling.errors import UserError

PROMPT = [30, 40, 50, 60]


@pytest.fixture
def device(pair: Any, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pair.device, tmp_path / "device"))


def change_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_adapters_are_mapped_once_and_change_what_comes(device: Path) -> None:
    engine = Engine.open(device)
    assert engine.load_adapter() == engine.load_adapter("recovery")
    assert engine.load_adapter().weights is engine.load_adapter("recovery").weights
    assert engine.identity(engine.load_adapter()).endswith("+recovery")
    assert engine.identity(engine.load_adapter("none")).endswith("+none")
    with_adapter, without = (engine.session(adapter=name).logits_after(PROMPT) for name in ("recovery", "none"))
    assert np.abs(with_adapter - without).max() > 0.1


def test_an_adapter_of_another_base_is_refused(device: Path) -> None:
    config = device / "adapters" / "recovery" / "adapter_config.json"
    engine = Engine.open(device)
    change_json(config, codling_base_sha256="0" * 64)
    with pytest.raises(UserError, match="another base"):
        engine.session()


@pytest.mark.parametrize("values", [{"r": "two"}, {"r": 3}, {"lora_alpha": 7}])
def test_an_adapter_that_does_not_fit_is_refused(device: Path, values: dict[str, object]) -> None:
    change_json(device / "adapters" / "recovery" / "adapter_config.json", **values)
    with pytest.raises(UserError, match=r"adapter_config\.json|adapter_model\.safetensors"):
        Engine.open(device).session()


def test_an_adapter_that_is_not_there_is_refused(device: Path) -> None:
    with pytest.raises(UserError, match=r"no adapter 'other' .it has: recovery"):
        Engine.open(device).session(adapter="other")


def test_an_adapter_of_another_place_is_found_again(device: Path, tmp_path: Path) -> None:
    engine = Engine.open(device)
    copy = shutil.copytree(device / "adapters" / "recovery", tmp_path / "copy")
    own, other, none = (engine.load_adapter(name) for name in ("recovery", str(copy), "none"))
    assert (own.reference, other.reference, none.reference) == ("recovery", str(copy.resolve()), "none")
    assert own.sha256 == other.sha256 != none.sha256
    for adapter in (own, other, none):
        assert engine.load_adapter(adapter.reference) == adapter
