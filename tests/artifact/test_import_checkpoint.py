import json
import shutil
import weakref
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from codling.artifact.bundle import export_hf, load_bundle
from codling.artifact.describe import describe
from codling.artifact.hf import EMBEDDING_NAME, HEAD_NAME, model_tensors, read_json
from codling.artifact.import_checkpoint import import_checkpoint
from codling.artifact.tensor_files import StoredTensors, read_tensors
from codling.errors import UserError
from codling.tokenizer.encode import Tokenizer
from tests.foreign_checkpoint import END_OF_TEXT, IM_END, shape, tensors, write_checkpoint


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "theirs")


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_weights_arrive_in_the_type_that_they_came_in(tmp_path: Path, kind: str, dtype: Any) -> None:
    import_checkpoint(write_checkpoint(tmp_path / "theirs", kind, dtype=dtype), tmp_path / "ours")
    stored, _ = read_tensors(tmp_path / "ours" / "model.safetensors")
    expected = tensors(shape(kind), dtype)
    assert stored.keys() == expected.keys()
    opened = load_bundle(tmp_path / "ours")
    assert opened.model.config == shape(kind)
    for name, tensor in model_tensors(opened.model).items():
        assert stored[name].dtype == dtype
        assert stored[name].tobytes() == expected[name].tobytes()
        np.testing.assert_array_equal(tensor, expected[name].astype(np.float32))
    assert read_json(tmp_path / "ours" / "config.json")["torch_dtype"] == np.dtype(dtype).name


def test_a_bundle_says_what_it_was_made_from_and_is_whole(theirs: Path, tmp_path: Path) -> None:
    made = import_checkpoint(theirs, tmp_path / "ours")
    description = describe(tmp_path / "ours")
    assert description.is_whole
    assert description.manifest == made.manifest
    assert description.model is not None
    assert description.model.bits_per_weight == pytest.approx(16, rel=0.1)
    assert made.manifest.metrics["bits_per_weight_total"] == 16
    assert made.manifest.config["files_sha256"].keys() == {path.name for path in theirs.iterdir()}
    assert str(tmp_path) not in (tmp_path / "ours" / "manifest.json").read_text()


def test_the_same_checkpoint_gives_the_same_bundle_from_anywhere(theirs: Path, tmp_path: Path) -> None:
    shutil.copytree(theirs, tmp_path / "copy")
    first, second = (
        import_checkpoint(tmp_path / name, tmp_path / f"{name} ours").manifest for name in ("theirs", "copy")
    )
    assert (first.id, first.files_sha256) == (second.id, second.files_sha256)


def test_it_keeps_their_tokenizer_and_what_goes_with_it(theirs: Path, tmp_path: Path) -> None:
    import_checkpoint(theirs, tmp_path / "ours")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "ours" / name).read_bytes() == (theirs / name).read_bytes()
    generation = json.loads((tmp_path / "ours" / "generation_config.json").read_text())
    expected = {"bos_token_id": END_OF_TEXT, "eos_token_id": [IM_END, END_OF_TEXT], "temperature": 0.6}
    assert generation == expected


def test_a_model_that_began_here_comes_back_whole(tmp_path: Path, pair: Any) -> None:
    export_hf(load_bundle(pair.server), tmp_path / "exported")
    import_checkpoint(tmp_path / "exported", tmp_path / "ours")
    opened = load_bundle(tmp_path / "ours")
    assert isinstance(opened.tokenizer, Tokenizer)
    for name in load_file(pair.server / "model.safetensors"):
        np.testing.assert_array_equal(model_tensors(opened.model)[name], model_tensors(pair.model)[name])
    for name in ("tokenizer.model", "tokenizer.json", "generation_config.json", "config.json"):
        assert (tmp_path / "ours" / name).read_bytes() == (pair.server / name).read_bytes()


def test_a_repeated_matrix_is_dropped_and_another_one_refused(theirs: Path, tmp_path: Path) -> None:
    weights = load_file(theirs / "model.safetensors")
    save_file(weights | {HEAD_NAME: weights[EMBEDDING_NAME].copy()}, theirs / "model.safetensors")
    import_checkpoint(theirs, tmp_path / "ours")
    assert HEAD_NAME not in read_tensors(tmp_path / "ours" / "model.safetensors")[0]
    save_file(weights | {HEAD_NAME: weights[EMBEDDING_NAME][::-1].copy()}, theirs / "model.safetensors")
    with pytest.raises(UserError, match=r"untied, as .* is another matrix"):
        import_checkpoint(theirs, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_values_that_are_not_finite_are_counted_and_nothing_is_written(tmp_path: Path, dtype: Any) -> None:
    theirs = write_checkpoint(tmp_path / "theirs", dtype=dtype)
    weights = load_file(theirs / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    weights[name][3, :2] = np.nan
    weights[name][4, 0] = np.inf
    save_file(weights, theirs / "model.safetensors")
    with pytest.raises(UserError, match=rf"tensor '{name}' has 3 values that are not finite \(2 NaN\)"):
        import_checkpoint(theirs, tmp_path / "ours")
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def test_it_never_writes_into_a_directory_that_holds_something(theirs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="theirs: not empty; choose another --out"):
        import_checkpoint(theirs, theirs)


def test_no_more_than_a_few_tensors_are_ever_in_memory(
    theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every tensor is read once, and let go before the next but one."""
    alive: list[Any] = []
    most = 0
    read = StoredTensors.__getitem__

    def watch(self: StoredTensors, name: str) -> np.ndarray:
        nonlocal most
        tensor = read(self, name)
        alive.append(weakref.ref(tensor))
        most = max(most, sum(ref() is not None for ref in alive))
        return tensor

    monkeypatch.setattr(StoredTensors, "__getitem__", watch)
    import_checkpoint(theirs, tmp_path / "ours")
    assert len(alive) == len(tensors(shape()))
    assert most <= 2
