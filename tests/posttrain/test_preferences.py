"""Pairs are read back as written; what is none is refused by file and line."""

import json
from pathlib import Path
from typing import Any

import pytest

from codling.errors import UserError
from codling.posttrain.gradings import Truthfulness
from codling.posttrain.levels import Level
from codling.posttrain.preferences import read_preferences, write_preferences

USER = {"role": "user", "content": "Who wrote Emma?"}
RIGHT = {"role": "assistant", "content": "Jane Austen."}
WRONG = {"role": "assistant", "content": "Emma did."}
CALL = {"role": "assistant", "tool_calls": [{"name": "search", "arguments": {"text": "Emma"}}]}
GOOD: dict[str, Any] = {
    "prompt": {"messages": [USER], "tools": [{"name": "search"}]},
    "answers": [WRONG, RIGHT],
    "better": 1,
    "level": "significantly_better",
    "gradings": [{"truthfulness": "untruthful"}, {"truthfulness": "truthful", "verbosity": "right_length"}],
    "labeler": "people",
    "source": "ours: 1",
    "license": "CC0-1.0",
}
BARE = {key: value for key, value in GOOD.items() if key not in ("gradings", "labeler")}


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_round_trip(tmp_path: Path) -> None:
    first = read_preferences(write(tmp_path / "a.jsonl", GOOD, BARE, {**BARE, "answers": [CALL, RIGHT]}))
    write_preferences(tmp_path / "b.jsonl.gz", first)
    assert read_preferences(tmp_path / "b.jsonl.gz") == first
    write_preferences(tmp_path / "c.jsonl", first)
    assert [json.loads(line) for line in (tmp_path / "c.jsonl").read_text().splitlines()][:2] == [GOOD, BARE]
    pair = first[0]
    assert (pair.chosen.content, pair.rejected.content) == ("Jane Austen.", "Emma did.")
    assert pair.level is Level.SIGNIFICANTLY_BETTER
    assert pair.gradings is not None
    assert pair.gradings[1].truthfulness is Truthfulness.TRUTHFUL


def test_two_verdicts_on_one_pair_meet_in_its_id(tmp_path: Path) -> None:
    swapped = {**BARE, "answers": [RIGHT, WRONG], "better": 1, "labeler": "somebody else"}
    other = {**BARE, "answers": [RIGHT, CALL]}
    first, second, third = read_preferences(write(tmp_path / "a.jsonl", GOOD, swapped, other))
    assert first.id == second.id != third.id


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"level": "great"}, "key 'level': input should be 'significantly_better', 'better', 'slightly_better' or"),
        (
            {"gradings": [{"truthfulness": "maybe"}, {}]},
            r"key 'gradings\.0\.truthfulness': input should be 'untruthful', 'partly_truthful' or 'truthful', got 'm",
        ),
        ({"gradings": [{"humor": "good"}, {}]}, r"unknown key 'gradings\.0\.humor'"),
        ({"gradings": [{}]}, r"key 'gradings\.1' is missing"),
        ({"answers": [RIGHT, {**RIGHT, "content": " Jane Austen.\n"}]}, "the two answers are equal"),
        ({"answers": [RIGHT, {"role": "assistant", "content": " "}]}, r"answers\[1\]: empty"),
        ({"answers": [RIGHT, {"role": "assistant"}]}, r"answers\[1\]: empty"),
        ({"answers": [RIGHT]}, r"key 'answers\.1' is missing"),
        ({"answers": [RIGHT, USER]}, r"answers\[1\]: a message of the user"),
        ({"better": 2}, "better is 2; it names an answer, 0 or 1"),
        ({"better": True}, "key 'better': input should be a valid integer, got True"),
        ({"prompt": {}}, "prompt: key 'messages' is missing"),
        ({"prompt": {"messages": []}}, "prompt: messages: a conversation needs at least one message"),
        ({"prompt": {"messages": [USER, RIGHT]}}, "prompt: the last message is of the assistant"),
        ({"tie": True}, "unknown key 'tie'"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    path = write(tmp_path / "bad.jsonl", GOOD, {**GOOD, **change})
    with pytest.raises(UserError, match=f"bad.jsonl:2: {problem}") as caught:
        read_preferences(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["prompt", "answers", "better", "level", "source", "license"])
def test_missing_keys_are_named(tmp_path: Path, key: str) -> None:
    without = {name: value for name, value in GOOD.items() if name != key}
    with pytest.raises(UserError, match=f"a.jsonl:1: key '{key}' is missing"):
        read_preferences(write(tmp_path / "a.jsonl", without))


def test_a_file_without_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no preference pair"):
        read_preferences(write(tmp_path / "none.jsonl"))
