"""Examples are read back as they were written."""

from pathlib import Path

import pytest

from codling.errors import UserError
from codling.skills.example_files import read_examples, write_examples
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
