"""Every set of the table reads, one realistic record each; and, where the files are at hand, as many as there are."""

import json
from pathlib import Path
from typing import Any

import pytest

from codling.config import from_dict
from codling.errors import UserError
from codling.posttrain.demonstration_sets import (
    OWN_FORM,
    READERS,
    DemonstrationSetConfig,
    read_demonstration_set,
)
from codling.posttrain.demonstrations import write_demonstrations
from codling.posttrain.set_records import LeftOut

DATA = Path(__file__).parents[3] / "shared" / "data"
CALLED = [{"name": "get_menu", "arguments": {"query": "tea"}}]
WITH_CALL = [
    {"role": "user", "content": "Is there tea?"},
    {"role": "assistant", "content": "", "tool_calls": CALLED},
    {"role": "tool", "name": "get_menu", "content": {"items": ["tea"]}},
    {"role": "assistant", "content": "Yes."},
]
INSTANCE = {"instruction": "Answer.", "instances": [{"input": "Is there tea?", "output": "Yes."}], "id": "task_1"}
TASKMASTER = {
    "set": "coffee",
    "id": "dlg-1",
    "context": [
        {"role": "agent", "text": "Welcome."},
        {"role": "user", "text": "Is there tea?"},
        {"role": "agent", "api": {"get_menu": {"query": "tea"}}},
        {"role": "api", "response": {"get_menu": {"items": ["tea"]}}},
    ],
    "generation": {"role": "agent", "text": "Yes."},
    "reward": 1.0,
}
TAU = {
    "task_id": 1,
    "trial": 0,
    "reward": 1.0,
    "messages": [
        {"role": "user", "content": "Is there tea?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "get_menu", "arguments": '{"query": "tea"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "name": "get_menu", "content": '{"items": ["tea"]}'},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "###STOP###"},
    ],
}
GLAIVE = {
    "conversations": [
        {"from": "human", "value": "Is there tea?"},
        {"from": "function_call", "value": '{"name": "get_menu", "arguments": {"query": "tea"}}'},
        {"from": "observation", "value": '{"items": ["tea"]}'},
        {"from": "gpt", "value": "Yes."},
    ],
    "tools": '[{"name": "get_menu", "parameters": {"type": "object"}}]',
}
RECORDS: dict[str, dict[str, Any]] = {
    "flan_cot": {"task": "creak", "input": "Is there tea?", "rationale": "There is a pot.", "target": "yes"},
    "gpteacher": {"set": "roleplay", "instruction": "Answer.", "input": "Is there tea?", "response": "Yes."},
    "p3_subset": {"template": "qasc", "prompt": "Is there tea?", "completion": "Yes."},
    "self_instruct_seed_tasks": INSTANCE,
    "user_oriented_instructions": INSTANCE,
    "tool_glaive_300": GLAIVE,
    "tool_sgd_dialogues": {"id": "1_1", "split": "train", "services": ["Menu_1"], "messages": WITH_CALL},
    "tool_taskmaster4_coffee": {"id": "dlg-1", "vertical": "Coffee", "scenario": "x", "messages": WITH_CALL},
    "taskmaster_reward": TASKMASTER,
    "tau_bench_airline_trajectories": TAU,
}
ANSWERS = {"flan_cot": "There is a pot.\nThe answer is yes."}


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize("name", READERS)
def test_every_set_reads_into_our_form(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "x.jsonl", RECORDS[name])
    found = read_demonstration_set(DemonstrationSetConfig(set=name, path=path))
    (demonstration,) = found.demonstrations
    assert demonstration.messages[-1].content == ANSWERS.get(name, "Yes.")
    assert (demonstration.messages[0].content or "").endswith("Is there tea?")
    assert demonstration.license == READERS[name].license
    assert demonstration.source.startswith(name)
    calls = [call for message in demonstration.messages for call in message.tool_calls]
    assert [call.arguments for call in calls] == ([{"query": "tea"}] if len(demonstration.messages) > 2 else [])
    results = [message.content for message in demonstration.messages if message.role == "tool"]
    assert all("tea" in json.dumps(json.loads(result or "")) for result in results)
    assert bool(demonstration.tools) == (name == "tool_glaive_300")
    write_demonstrations(tmp_path / "ours.jsonl", found.demonstrations)
    ours = read_demonstration_set(DemonstrationSetConfig(set=OWN_FORM, path=tmp_path / "ours.jsonl"))
    assert ours.demonstrations == found.demonstrations


def test_what_is_no_demonstration_is_counted(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"reward": 0.0},
        {"context": []},
        {"generation": {"role": "agent", "text": " "}},
    ]
    path = write(tmp_path / "x.jsonl", *(TASKMASTER | change for change in changes))
    found = read_demonstration_set(DemonstrationSetConfig(set="taskmaster_reward", path=path))
    assert len(found.demonstrations) == 1
    assert found.left_out == {LeftOut.LOW_RATED: 1, LeftOut.BROKEN_DIALOGUE: 1, LeftOut.EMPTY_ANSWER: 1}
    toolformer = write(tmp_path / "y.jsonl", RECORDS["gpteacher"], RECORDS["gpteacher"] | {"set": "toolformer"})
    found = read_demonstration_set(DemonstrationSetConfig(set="gpteacher", path=toolformer))
    assert found.left_out == {LeftOut.OTHER_FORM: 1}


def test_bad_files_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", RECORDS["p3_subset"])
    with pytest.raises(UserError, match=r"x\.jsonl:1: not a record of flan_cot \(no key 'rationale'\)"):
        read_demonstration_set(DemonstrationSetConfig(set="flan_cot", path=path))
    path = write(tmp_path / "x.jsonl", TAU | {"reward": 0.0})
    with pytest.raises(UserError, match=r"x\.jsonl: holds no demonstration \(1: rated bad\)"):
        read_demonstration_set(DemonstrationSetConfig(set="tau_bench_airline_trajectories", path=path))
    with pytest.raises(UserError, match=r"unknown set 'nonesuch' \(known: demonstrations, flan_cot, "):
        from_dict(DemonstrationSetConfig, {"set": "nonesuch", "path": "x"}, source="recipe")


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the published sets are not beside the repository")
def test_the_published_files_hold_what_they_should() -> None:
    counts = {}
    for name in READERS:
        (path,) = DATA.glob(f"*/{name}.jsonl.gz")
        found = read_demonstration_set(DemonstrationSetConfig(set=name, path=path))
        counts[name] = (len(found.demonstrations), sum(found.left_out.values()))
    assert counts == {
        "flan_cot": (32646, 0),
        "gpteacher": (6458, 7673),
        "p3_subset": (26265, 0),
        "self_instruct_seed_tasks": (175, 0),
        "user_oriented_instructions": (252, 0),
        "tool_glaive_300": (300, 0),
        "tool_sgd_dialogues": (6000, 0),
        "tool_taskmaster4_coffee": (1908, 92),
        "taskmaster_reward": (3333, 3562),
        "tau_bench_airline_trajectories": (84, 116),
    }
