"""Pairs that wait for a verdict are read back as written, and keep their id when they get one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codling.committee.candidates import plain_candidate, read_candidates, write_candidates
from codling.committee.label_pairs import preference
from codling.committee.labeler import Verdict
from codling.errors import UserError
from codling.posttrain.levels import Level
from codling.tokenizer.messages import Message, ToolCall
from tests.committee.made_pairs import make_pair

CALL = Message(role="assistant", tool_calls=(ToolCall(name="add", arguments={"a": 3, "b": 4}),))
PAIRS = [make_pair("7", "8"), make_pair(CALL, "7", check=None)]
GOOD = plain_candidate(PAIRS[0])


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_round_trip(tmp_path: Path) -> None:
    write_candidates(tmp_path / "a.jsonl", PAIRS)
    assert read_candidates(tmp_path / "a.jsonl") == PAIRS
    assert json.loads((tmp_path / "a.jsonl").read_text().splitlines()[1])["members"] == ["sft", "dpo"]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("better", [0, 1])
def test_the_id_is_that_of_the_preference_pair_in_either_order(pair: Any, better: int) -> None:
    labeled = preference(pair, Verdict(better=better, level=Level.BETTER), "somebody")
    swapped = replace(pair, answers=pair.answers[::-1])
    assert pair.id == swapped.id == labeled.id
    assert labeled.chosen == pair.answers[better]


def test_ids_tell_pairs_apart() -> None:
    pairs = [*PAIRS, make_pair("7", "9"), make_pair("7", "8", question="4 + 3?")]
    assert len({pair.id for pair in pairs}) == len(pairs)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"answers": [{"role": "assistant", "content": "7"}, {"role": "assistant", "content": " 7\n"}]}, "are equal"),
        ({"answers": [{"role": "assistant", "content": "7"}, {"role": "assistant", "content": " "}]}, "not empty"),
        ({"answers": [{"role": "assistant", "content": "7"}, {"role": "user", "content": "8"}]}, "of the assistant"),
        ({"answers": [{"role": "assistant", "content": "7"}]}, r"key 'answers\.1' is missing"),
        ({"members": ["sft"]}, r"key 'members\.1' is missing"),
        ({"prompt": {**GOOD["prompt"], "prompt": {"messages": []}}}, "a conversation needs at least one message"),
        ({"prompt": {**GOOD["prompt"], "skill": ""}}, "prompt: skill is empty"),
        ({"prompt": 3}, "key 'prompt'"),
        ({"better": 0}, "unknown key 'better'"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=f"bad.jsonl:2: .*{problem}") as caught:
        read_candidates(write(tmp_path / "bad.jsonl", GOOD, {**GOOD, **change}))
    assert "\n" not in str(caught.value)


def test_a_file_without_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no pair"):
        read_candidates(write(tmp_path / "none.jsonl"))
