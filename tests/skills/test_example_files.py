"""Examples are read back as they were written."""

from pathlib import Path

import pytest

from codling.errors import UserError
from codling.skills.example_files import read_examples, write_examples
from codling.skills.formats import Formats
from codling.skills.tool_calls import ToolCalls


def test_round_trip(tmp_path: Path) -> None:
    examples = ToolCalls().examples("train", 30, 0)
    write_examples(tmp_path / "a" / "x.jsonl", examples)
    assert read_examples(tmp_path / "a" / "x.jsonl") == examples


def test_damage_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_examples(tmp_path / "absent.jsonl")
    (tmp_path / "cut.jsonl").write_text('{"messages": [')
    with pytest.raises(UserError, match=r"cut\.jsonl: damaged"):
        read_examples(tmp_path / "cut.jsonl")


def test_checks_travel_and_their_absence_leaves_no_trace(tmp_path: Path) -> None:
    examples = [*Formats().examples("train", 3, 0), *ToolCalls().examples("train", 3, 0)]
    write_examples(tmp_path / "x.jsonl", examples)
    assert read_examples(tmp_path / "x.jsonl") == examples
    assert [line.count('"check"') for line in (tmp_path / "x.jsonl").read_text().splitlines()] == [1, 1, 1, 0, 0, 0]
