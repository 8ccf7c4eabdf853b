import shutil
from pathlib import Path
from typing import Any

import pytest

from codling.artifact.describe import FileState, describe
from codling.artifact.hf import model_tensors
from codling.errors import UserError


@pytest.fixture
def device(pair: Any, tmp_path: Path) -> Path:
    return shutil.copytree(pair.device, tmp_path / "device")


def states(directory: Path) -> dict[str, FileState]:
    return {file.name: file.state for file in describe(directory).files}


def test_a_fresh_bundle_is_whole(pair: Any) -> None:
    description = describe(pair.device)
    assert description.is_whole
    assert {file.state for file in description.files} == {FileState.WHOLE}
    assert "adapters/recovery/adapter_config.json" in states(pair.device)
    assert description.adapters == ("recovery",)


def test_the_model_is_counted_from_its_tensors(pair: Any) -> None:
    sizes = [tensor.size for tensor in model_tensors(pair.model).values()]
    dense, small = describe(pair.server).model, describe(pair.device).model
    assert dense is not None
    assert small is not None
    assert dense.num_parameters == small.num_parameters == sum(sizes)
    assert dense.bits_per_weight == 32
    assert (dense.is_palettized, small.is_palettized) == (False, True)
    assert 4 < small.bits_per_weight < 16


def test_changed_missing_and_unknown_files_are_told_apart(device: Path) -> None:
    (device / "tokenizer.json").write_text("{}")
    (device / "generation_config.json").unlink()
    (device / "notes.txt").write_text("mine")
    found = states(device)
    assert found["tokenizer.json"] is FileState.CHANGED
    assert found["generation_config.json"] is FileState.MISSING
    assert found["notes.txt"] is FileState.UNKNOWN
    assert not describe(device).is_whole


def test_a_file_of_the_users_own_does_no_harm(device: Path) -> None:
    (device / "notes.txt").write_text("mine")
    assert describe(device).is_whole


def test_without_weights_the_rest_is_still_described(device: Path) -> None:
    (device / "model.safetensors").unlink()
    description = describe(device)
    assert description.model is None
    assert not description.is_whole


def test_what_is_no_artifact_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a finished codling artifact"):
        describe(tmp_path)
