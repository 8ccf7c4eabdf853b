import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codling.artifact import bundle as bundle_module
from codling.artifact.bundle import adapter_names, export_hf, is_palettized, load_bundle
from codling.artifact.hf import model_config, model_from_tensors, model_tensors, read_json
from codling.artifact.manifest import read_manifest
from codling.artifact.tensor_files import read_tensors
from codling.errors import UserError
from codling.tokenizer.encode import Tokenizer
from codling.tokenizer.imported import ImportedTokenizer
from codling.tokenizer.train import TokenizerConfig, train_tokenizer


@pytest.fixture
def server(pair: Any, tmp_path: Path) -> Path:
    return shutil.copytree(pair.server, tmp_path / "server")


@pytest.fixture
def device(pair: Any, tmp_path: Path) -> Path:
    return shutil.copytree(pair.device, tmp_path / "device")


def tree(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_bundle_uses_its_recovery_adapter_unless_told_otherwise(pair: Any) -> None:
    recovered, bare = load_bundle(pair.device), load_bundle(pair.device, "none")
    identity = read_manifest(pair.device).id
    assert (recovered.identity, bare.identity) == (f"{identity}+recovery", f"{identity}+none")
    dense = model_tensors(pair.model)["model.layers.0.mlp.up_proj.weight"]

    def distance(bundle: Any) -> float:
        return float(np.linalg.norm(model_tensors(bundle.model)["model.layers.0.mlp.up_proj.weight"] - dense))

    assert distance(recovered) < distance(bare)


def test_a_dense_bundle_has_no_adapter(pair: Any) -> None:
    assert load_bundle(pair.server).adapter == "none"
    assert adapter_names(pair.server) == []
    assert adapter_names(pair.device) == ["recovery"]
    assert (is_palettized(pair.server), is_palettized(pair.device)) == (False, True)


def test_a_bundle_is_laid_out_as_other_libraries_expect(pair: Any) -> None:
    names = set(tree(pair.server))
    assert names >= {"config.json", "model.safetensors", "tokenizer.model", "tokenizer.json", "tokenizer_config.json"}
    assert json.loads((pair.server / "generation_config.json").read_text())["eos_token_id"] == [10, 2]


@pytest.mark.parametrize("side", ["server", "device"])
def test_an_export_is_the_very_model_that_runs(pair: Any, tmp_path: Path, side: str) -> None:
    opened = load_bundle(getattr(pair, side))
    export_hf(opened, tmp_path / "out")
    config = model_config(read_json(tmp_path / "out" / "config.json"), source="out")
    tensors, _ = read_tensors(tmp_path / "out" / "model.safetensors")
    exported = model_tensors(model_from_tensors(config, tensors, source="out"))
    for name, tensor in model_tensors(opened.model).items():
        np.testing.assert_array_equal(exported[name], tensor)
    assert not is_palettized(tmp_path / "out")
    assert Tokenizer.load(tmp_path / "out").sha256 == opened.tokenizer.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_export_fills_an_empty_directory(pair: Any, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export_hf(load_bundle(pair.server), tmp_path / "out")
    assert (tmp_path / "out" / "config.json").is_file()


@pytest.mark.parametrize("is_file", [False, True])
def test_an_export_refuses_what_is_there_and_touches_nothing(pair: Any, tmp_path: Path, is_file: bool) -> None:
    out = tmp_path / "out"
    (out if is_file else out / "diary.txt").parent.mkdir(exist_ok=True)
    (out if is_file else out / "diary.txt").write_text("mine")
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "also.txt").write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(UserError, match="out: not empty; choose another --out"):
        export_hf(load_bundle(pair.server), out)
    assert tree(tmp_path) == before


def test_an_export_that_fails_leaves_nothing(pair: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle_module, "write_bundle_files", fail)
    opened = load_bundle(pair.server)
    with pytest.raises(OSError, match="No space left"):
        export_hf(opened, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_tokenizer_is_refused(server: Path, alice_tokenizer: Tokenizer) -> None:
    (server / "tokenizer.model").write_bytes(alice_tokenizer.model)
    with pytest.raises(UserError, match="the tokenizer does not belong to the weights"):
        load_bundle(server)


@pytest.fixture(scope="module")
def alice_tokenizer() -> Tokenizer:
    text = (Path(__file__).parents[1] / "data" / "alice.txt").read_text(encoding="utf-8")
    return Tokenizer.from_bytes(train_tokenizer([text[:10_000]], TokenizerConfig(vocab_size=600)))


def test_weights_of_another_vocabulary_are_refused(server: Path) -> None:
    config = json.loads((server / "config.json").read_text())
    (server / "config.json").write_text(json.dumps(config | {"vocab_size": 601}))
    with pytest.raises(UserError, match=r"600, 16\], the config asks for \[601, 16\]"):
        load_bundle(server)


def test_an_unknown_adapter_is_refused(pair: Any) -> None:
    with pytest.raises(UserError, match=r"no adapter 'poet' \(it has: recovery\)"):
        load_bundle(pair.device, "poet")
    with pytest.raises(UserError, match=r"no adapter 'recovery' \(it has: none\)"):
        load_bundle(pair.server, "recovery")


def test_another_kind_of_artifact_is_refused(server: Path) -> None:
    manifest = json.loads((server / "manifest.json").read_text())
    (server / "manifest.json").write_text(json.dumps(manifest | {"kind": "tokens"}))
    with pytest.raises(UserError, match="is a tokens artifact, need bundle"):
        load_bundle(server)


@pytest.mark.parametrize("name", ["tokenizer.model", "model.safetensors", "config.json", "manifest.json"])
def test_a_bundle_that_lacks_a_file_is_refused(server: Path, name: str) -> None:
    (server / name).unlink()
    with pytest.raises(UserError, match=name):
        load_bundle(server)


def test_an_imported_bundle_has_the_tokenizer_that_it_came_with(foreign: Any, tmp_path: Path) -> None:
    opened = load_bundle(foreign.bundle)
    assert isinstance(opened.tokenizer, ImportedTokenizer)
    assert opened.tokenizer.vocab_size == opened.model.config.vocab_size
    export_hf(opened, tmp_path / "out")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (foreign.bundle / name).read_bytes()
    theirs, exported = (read_json(path / "config.json") for path in (foreign.checkpoint, tmp_path / "out"))
    assert exported["bos_token_id"] == theirs["bos_token_id"]
    assert exported["torch_dtype"] == "float32"


def test_an_imported_tokenizer_that_was_changed_is_refused(foreign: Any, tmp_path: Path) -> None:
    bundle = shutil.copytree(foreign.bundle, tmp_path / "bundle")
    (bundle / "tokenizer.json").write_text((bundle / "tokenizer.json").read_text() + "\n")
    with pytest.raises(UserError, match="the tokenizer does not belong to the weights"):
        load_bundle(bundle)
