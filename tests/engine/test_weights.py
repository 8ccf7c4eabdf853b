"""Weight files that are not what they should be: a clear error that names file and tensor, never a crash."""

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codling.artifact.tensor_files import read_tensors, write_tensors
from codling.engine.engine import Engine
from codling.errors import UserError

Header = dict[str, Any]
QUERY = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture
def device(pair: Any, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pair.device, tmp_path / "device"))


def split(content: bytes) -> tuple[Header, bytes]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def rewrite(directory: Path, change: Callable[[Header], object], *, pad: int = 8) -> None:
    """Write the file anew with another header."""
    path = directory / "model.safetensors"
    header, data = split(path.read_bytes())
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8 + pad - 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def refused(directory: Path) -> str:
    with pytest.raises(UserError, match=r"model\.safetensors") as raised:
        Engine.open(directory)
    return str(raised.value)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, -1, -4096])
def test_truncated_files(device: Path, length: int) -> None:
    path = device / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    refused(device)


@pytest.mark.parametrize("header_bytes", [0, 1, 1 << 30, (1 << 63) + 1, (1 << 64) - 1, (1 << 64) - 8])
def test_wrong_header_lengths(device: Path, header_bytes: int) -> None:
    path = device / "model.safetensors"
    path.write_bytes(header_bytes.to_bytes(8, "little") + path.read_bytes()[8:])
    refused(device)


def test_over_long_files(device: Path) -> None:
    with (device / "model.safetensors").open("ab") as file:
        file.write(b"\0" * 16)
    assert "16 bytes after the last tensor" in refused(device)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"dtype": "I9"}, "unknown dtype 'I9'"),
        ({"dtype": 3}, "no dtype"),
        ({"dtype": "F64"}, "takes"),
        ({"shape": [1 << 40, 1 << 40]}, "too large"),
        ({"shape": [-1, 4]}, "whole numbers"),
        ({"shape": [1.5]}, "whole numbers"),
        ({"shape": None}, "whole numbers"),
        ({"data_offsets": [8, 0]}, "begin and an end"),
        ({"data_offsets": [0]}, "begin and an end"),
        ({"data_offsets": [0, 1 << 70]}, "whole numbers"),
        ({"data_offsets": [0, (1 << 63) - 1]}, "takes"),
    ],
)
def test_wrong_entries(device: Path, entry: Header, problem: str) -> None:
    rewrite(device, lambda header: header["model.norm.weight"].update(entry))
    message = refused(device)
    assert "'model.norm.weight'" in message
    assert problem in message


def moved(name: str, by: int) -> Callable[[Header], None]:
    def move(header: Header) -> None:
        header[name]["data_offsets"] = [offset + by for offset in header[name]["data_offsets"]]

    return move


@pytest.mark.parametrize(("by", "problem"), [(-4, "overlaps"), (4, "gap"), (1 << 20, "gap"), (1 << 50, "gap")])
def test_moved_tensors(device: Path, by: int, problem: str) -> None:
    rewrite(device, moved("model.norm.weight", by))
    assert problem in refused(device)


def test_misaligned_data(device: Path) -> None:
    rewrite(device, lambda header: None, pad=9)
    assert "misaligned" in refused(device)


@pytest.mark.parametrize(
    "text", ["", "[]", "3", '{"a": 1', '{"a": {}}', '{"a": {}, "a": {}}', '"\\ud800"', "[" * 100_000]
)
def test_headers_that_are_not_what_they_should_be(device: Path, text: str) -> None:
    (device / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text.encode())
    refused(device)


@pytest.mark.parametrize("text", [b'{"\xff": 1}', b'{"\xc0\x80": 1}', b'{"\xed\xa0\x80": 1}', b'{"a\n": 1}'])
def test_headers_that_are_not_utf_8(device: Path, text: bytes) -> None:
    (device / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    assert "not JSON" in refused(device)


def test_metadata_that_is_not_text(device: Path) -> None:
    rewrite(device, lambda header: header["__metadata__"].update(format=3))
    assert "__metadata__" in refused(device)


def change_metadata(directory: Path, key: str, change: Callable[[Header], object]) -> None:
    def rewritten(header: Header) -> None:
        values = json.loads(header["__metadata__"][key])
        change(values)
        header["__metadata__"][key] = json.dumps(values)

    rewrite(directory, rewritten)


@pytest.mark.parametrize(
    "entry",
    [
        {"bits": 3},
        {"bits": 2},
        {"bits": True},
        {"rows_per_table": 0},
        {"rows_per_table": 24},
        {"rows_per_table": 1 << 62},
        {"row_scales": None},
        {"row_scales": True},
        {"shape": [16]},
        {"shape": [16, 0]},
        {"shape": [1 << 62, 1 << 62]},
        {"shape": [17, 16]},
        {"shape": [16, 40]},
    ],
    ids=str,
)
def test_wrong_metadata_of_palettized_matrices(device: Path, entry: Header) -> None:
    change_metadata(device, "codling.palettized", lambda values: values[QUERY].update(entry))
    assert QUERY in refused(device)


def test_other_versions_are_refused(device: Path) -> None:
    rewrite(device, lambda header: header["__metadata__"].update({"codling.format_version": "3"}))
    assert "'3'" in refused(device)


@pytest.mark.parametrize("key", ["codling.palettized", "codling.int8_rows"])
def test_metadata_that_is_not_json(device: Path, key: str) -> None:
    rewrite(device, lambda header: header["__metadata__"].update({key: "{"}))
    assert key in refused(device)


@pytest.mark.parametrize(
    ("suffix", "value"),
    [(".palette_scales", np.nan), (".palette_scales", 0.0), (".palette_scales", -1.0), (".palette_tables", -128)],
)
def test_values_out_of_range(device: Path, suffix: str, value: float) -> None:
    path = device / "model.safetensors"
    tensors, metadata = read_tensors(path)
    changed = tensors[QUERY + suffix].copy()
    changed.reshape(-1)[0] = value
    write_tensors(path, tensors | {QUERY + suffix: changed}, metadata)
    assert QUERY + suffix in refused(device)


@pytest.mark.parametrize("suffix", [".palette_indices", ".palette_tables", ".palette_scales"])
def test_missing_parts(device: Path, suffix: str) -> None:
    path = device / "model.safetensors"
    tensors, metadata = read_tensors(path)
    del tensors[QUERY + suffix]
    write_tensors(path, tensors, metadata)
    assert QUERY + suffix in refused(device)


def test_surplus_tensors(device: Path) -> None:
    path = device / "model.safetensors"
    tensors, metadata = read_tensors(path)
    write_tensors(path, tensors | {"surplus": np.zeros(3, np.float32)}, metadata)
    assert "'surplus' belongs to no part" in refused(device)


def test_a_repeated_output_embedding_is_ignored(pair: Any, tmp_path: Path) -> None:
    server = Path(shutil.copytree(pair.server, tmp_path / "server"))
    path = server / "model.safetensors"
    tensors, metadata = read_tensors(path)
    write_tensors(path, tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"]}, metadata)
    Engine.open(server)


def test_headers_with_random_bytes_changed_crash_nothing(device: Path) -> None:
    path, random = device / "model.safetensors", np.random.default_rng(0)
    whole = path.read_bytes()
    header_bytes = 8 + int.from_bytes(whole[:8], "little")
    for _ in range(300):
        content = bytearray(whole)
        for place in random.integers(0, header_bytes, random.integers(1, 4)):
            content[place] = random.integers(0, 256)
        path.write_bytes(content)
        # Opened or refused, but nothing else.
        with contextlib.suppress(UserError):
            Engine.open(device, num_threads=1)
