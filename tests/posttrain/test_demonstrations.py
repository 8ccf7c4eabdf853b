"""Demonstrations are read back as written; what is none is refused by file and line."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from codling.errors import UserError
from codling.posttrain.demonstrations import Demonstration, read_demonstrations, write_demonstrations
from codling.tokenizer.messages import Message

USER = {"role": "user", "content": "Name a color."}
ANSWER = {"role": "assistant", "content": "Green."}
CALL = {"role": "assistant", "tool_calls": [{"name": "draw", "arguments": {"color": "green"}}]}
GOOD: dict[str, Any] = {
    "messages": [{"role": "system", "content": "Be brief."}, USER, CALL, {"role": "tool", "content": "ok"}, ANSWER],
    "tools": [{"name": "draw", "parameters": {"type": "object"}}],
    "source": "ours: 1",
    "license": "CC0-1.0",
}


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_round_trip(tmp_path: Path) -> None:
    first = read_demonstrations(write(tmp_path / "a.jsonl", GOOD, {**GOOD, "messages": [USER, ANSWER], "tools": []}))
    write_demonstrations(tmp_path / "b.jsonl", first)
    assert read_demonstrations(tmp_path / "b.jsonl") == first
    assert json.loads((tmp_path / "b.jsonl").read_text().splitlines()[0]) == GOOD


def test_the_id_is_that_of_the_content(tmp_path: Path) -> None:
    changed = {**GOOD, "messages": [*GOOD["messages"][:-1], {"role": "assistant", "content": "Red."}]}
    elsewhere = {**GOOD, "source": "theirs", "license": "MIT"}
    first, second, third = read_demonstrations(write(tmp_path / "a.jsonl", GOOD, elsewhere, changed))
    assert first.id == second.id != third.id
    assert first.prompt.messages == first.messages[:-1]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"messages": [USER]}, "the last message is of the user; it must be the assistant's"),
        ({"messages": [ANSWER]}, r"messages\[0\]: a message of the assistant at the start"),
        ({"messages": [USER, USER, ANSWER]}, r"messages\[1\]: a message of the user after one of the user"),
        ({"messages": [USER, {"role": "assistant", "content": " "}]}, r"messages\[1\]: the assistant's message is emp"),
        ({"messages": [USER, {"role": "bot", "content": "x"}]}, r"messages\[1\]: key 'role'"),
        ({"messages": []}, "messages: a conversation needs at least one message"),
        ({"license": 3}, "key 'license': input should be a valid string"),
        ({"licence": "MIT"}, "unknown key 'licence' .known here: messages, tools, source, license"),
        ({"tools": [{"description": "x"}]}, r"tools\[0\]: a function definition needs a name"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    path = write(tmp_path / "bad.jsonl", GOOD, {**GOOD, **change})
    with pytest.raises(UserError, match=f"bad.jsonl:2: {problem}") as caught:
        read_demonstrations(path)
    assert "\n" not in str(caught.value)


def test_missing_keys_and_empty_files_are_named(tmp_path: Path) -> None:
    without = {key: value for key, value in GOOD.items() if key != "source"}
    with pytest.raises(UserError, match=r"a\.jsonl:1: key 'source' is missing"):
        read_demonstrations(write(tmp_path / "a.jsonl", without))
    with pytest.raises(UserError, match="holds no demonstration"):
        read_demonstrations(write(tmp_path / "none.jsonl"))


def test_one_made_in_code_is_checked_too() -> None:
    with pytest.raises(ValidationError, match="must be the assistant's"):
        Demonstration(messages=(Message(role="user", content="x"),), source="s", license="l")
