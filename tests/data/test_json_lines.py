"""Objects are read back as they were written, and damage is named by file and line."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from codling.data.json_lines import read_objects, read_utf8, write_objects
from codling.errors import UserError

RECORDS: list[dict[str, Any]] = [{"text": "a\u2028b\n"}, {"text": "ü", "n": 1}]


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_round_trip(tmp_path: Path, name: str) -> None:
    path = tmp_path / "new" / name
    write_objects(path, RECORDS)
    assert [record for _, record in read_objects(path)] == RECORDS
    assert [place for place, _ in read_objects(path)] == [f"{path}:1", f"{path}:2"]
    first = path.read_bytes()
    write_objects(path, RECORDS)
    assert path.read_bytes() == first


def test_empty_lines_keep_the_count(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('\n{"a": 1}\n\n{"b": 2}')
    assert [place.rpartition(":")[2] for place, _ in read_objects(tmp_path / "x.jsonl")] == ["2", "4"]


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("cut.jsonl", b'{"a": 1}\n{"a": ', r"cut\.jsonl:2: not a JSON object"),
        ("list.jsonl", b"[1]\n", r"list\.jsonl:1: not a JSON object \(a list\)"),
        ("deep.jsonl", b'{"a":' + b"[" * 100_000, r"deep\.jsonl:1: not a JSON object"),
        ("latin.jsonl", b'{"a": "\xfc"}', "not UTF-8 at byte 7"),
        ("cut.jsonl.gz", gzip.compress(b'{"a": 1}', mtime=0)[:-4], "not a whole gzip file"),
    ],
)
def test_damage_is_named(tmp_path: Path, name: str, data: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=problem):
        list(read_objects(tmp_path / name))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.jsonl: no such file"):
        list(read_objects(tmp_path / "absent.jsonl"))


def test_a_mark_of_byte_order_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes("\ufeffhello".encode())
    assert read_utf8(tmp_path / "x.txt") == "hello"
