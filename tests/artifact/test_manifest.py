import json
from pathlib import Path
from typing import Any

import pytest

from codling.artifact.manifest import (
    Manifest,
    artifact_id,
    file_sha256,
    hardware,
    library_versions,
    read_manifest,
    source_commit,
    write_manifest,
)
from codling.errors import UserError

MANIFEST = Manifest(
    schema_version=1,
    id="core-0123456789ab",
    kind="model",
    stage="core",
    stage_version=2,
    seed=3,
    config={"rate": 1e-3, "name": "größer"},
    inputs={"tokens": "tokens-ba9876543210"},
    metrics={"nll": 1.25},
    files_sha256={"a": "b"},
    commit="unknown",
    libraries={},
    hardware={},
    started="2026-01-01T00:00:00+00:00",
    wall_time_s=1.5,
)
IDENTITY: dict[str, Any] = {
    "stage": "core",
    "version": 1,
    "config": {"a": 1, "b": {"c": 2}},
    "seed": 0,
    "inputs": {"tokens": "tokens-1"},
}


def test_a_manifest_survives_a_round_trip_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)
    assert read_manifest(tmp_path) == MANIFEST
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "other"},
        {"version": 2},
        {"config": {"a": 1, "b": {"c": 3}}},
        {"seed": 1},
        {"inputs": {"tokens": "tokens-2"}},
        {"inputs": {"text": "tokens-1"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_id_changes_with_all_that_the_result_depends_on(change: dict[str, Any]) -> None:
    assert artifact_id(**IDENTITY) != artifact_id(**(IDENTITY | change))


def test_the_id_does_not_depend_on_the_order_of_keys() -> None:
    reordered = IDENTITY | {"config": {"b": {"c": 2}, "a": 1}}
    assert artifact_id(**IDENTITY) == artifact_id(**reordered)


def test_the_id_is_the_same_on_every_machine() -> None:
    assert artifact_id(**IDENTITY) == "core-f1106a07a572"


def test_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_it_says_what_computed_the_result() -> None:
    assert library_versions()["codling"]
    assert hardware()["cores"] >= 1
    assert source_commit()


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such directory"):
        read_manifest(tmp_path / "nowhere")


def test_a_directory_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not a finished codling artifact \(it has no manifest.json\)"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"schema_version": 99}', "schema version 99, this codling reads 1"),
        (b'{"schema_version": 1}', "key 'id' is missing"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "manifest.json").write_bytes(text)
    with pytest.raises(UserError, match=message):
        read_manifest(tmp_path)


def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"surprise": 1}))
    with pytest.raises(UserError, match="surprise"):
        read_manifest(tmp_path)
