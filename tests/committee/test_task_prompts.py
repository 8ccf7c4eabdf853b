"""Prompts of a round are read back as written; what is none is refused by file and line."""

import json
from pathlib import Path
from typing import Any

import pytest

from codling.committee.task_prompts import plain_task_prompt, read_task_prompts, write_task_prompts
from codling.errors import UserError
from codling.posttrain.prompts import read_prompt
from codling.rewards.number import NumberCheck

PROMPT = {"messages": [{"role": "user", "content": "3 + 4?"}], "tools": [{"name": "search"}]}
BARE: dict[str, Any] = {"prompt": PROMPT, "skill": "arithmetic", "source": "ours", "license": "CC0-1.0"}
GOOD: dict[str, Any] = {**BARE, "category": "sums", "check": {"kind": "number", "expected": "7"}}


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_round_trip(tmp_path: Path) -> None:
    first = read_task_prompts(write(tmp_path / "a.jsonl", GOOD, BARE))
    write_task_prompts(tmp_path / "b.jsonl.gz", first)
    assert read_task_prompts(tmp_path / "b.jsonl.gz") == first
    assert [plain_task_prompt(prompt) for prompt in first] == [GOOD, {**BARE, "category": ""}]
    assert first[0].check == NumberCheck(expected="7")
    assert first[1].check is None


def test_the_id_is_that_of_the_bare_prompt(tmp_path: Path) -> None:
    checked, bare = read_task_prompts(write(tmp_path / "a.jsonl", GOOD, BARE))
    assert checked.id == bare.id == read_prompt(PROMPT, source="x").id


def test_openais_wrapping_is_taken_off(tmp_path: Path) -> None:
    wrapped = {**PROMPT, "tools": [{"type": "function", "function": {"name": "search"}}]}
    (prompt,) = read_task_prompts(write(tmp_path / "a.jsonl", {**GOOD, "prompt": wrapped}))
    assert plain_task_prompt(prompt) == GOOD


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"prompt": {"messages": []}}, "prompt: messages: a conversation needs at least one message"),
        ({"prompt": "3 + 4?"}, "prompt: expected an object with messages"),
        ({"skill": ""}, "skill is empty; name the family"),
        ({"skill": None}, "key 'skill'"),
        ({"check": {"kind": "vibes"}}, "key 'check'.*'vibes'"),
        ({"check": {"kind": "number", "expected": "seven"}}, "expected is 'seven', it must be one number"),
        ({"answer": "7"}, "unknown key 'answer'"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=f"bad.jsonl:2: .*{problem}") as caught:
        read_task_prompts(write(tmp_path / "bad.jsonl", GOOD, {**GOOD, **change}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["prompt", "skill", "source", "license"])
def test_missing_keys_are_named(tmp_path: Path, key: str) -> None:
    without = {name: value for name, value in GOOD.items() if name != key}
    with pytest.raises(UserError, match=f"a.jsonl:1: key '{key}' is missing"):
        read_task_prompts(write(tmp_path / "a.jsonl", without))


def test_a_file_without_prompts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no prompt"):
        read_task_prompts(write(tmp_path / "none.jsonl"))
