"""Published sets of demonstrations, read from files of the user's own into our form.

The table below says of each set how it is read, under which license it stands, and what it lacks. Where a record is
more than an instruction and its answer, the function that reads it says what it makes of it.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from codling.config import config
from codling.data.json_lines import read_objects
from codling.posttrain.demonstrations import Demonstration, read_demonstrations
from codling.posttrain.prompts import is_empty
from codling.posttrain.set_records import ROLES, Lacks, LeftOut, Record, Records, dialogue, each, sort_out, with_input
from codling.tokenizer.messages import read_tools

OWN_FORM: Final = "demonstrations"
"""The name of a set that is written in our form already."""


class Told(NamedTuple):
    """What a record says: messages, the tools it defines, and the record's name."""

    turns: list[dict[str, Any]]
    item: str = ""
    tools: tuple[dict[str, Any], ...] = ()


class SetReader(NamedTuple):
    """How a published set is read, and what is known of it."""

    read: Callable[[Records], Iterable[Told | LeftOut]]
    license: str
    lacks: frozenset[Lacks]


def read_flan_cot(record: Record) -> Told:
    """Read a question, its rationale and its answer; the sentence that gives the answer is ours."""
    answer = f"{record['rationale']}\nThe answer is {record['target']}."
    return Told(_asked(record["input"], answer), record["task"])


def read_gpteacher(record: Record) -> Told | LeftOut:
    """Read an instruction, its input and the response. Its third part calls tools in running text: left out."""
    if record["set"] == "toolformer":
        return LeftOut.OTHER_FORM
    return Told(_asked(with_input(record["instruction"], record["input"]), record["response"]), record["set"])


def read_instances(record: Record) -> Told:
    """Read an instruction with its first instance, of input and output; the files have one each."""
    (instance,) = record["instances"]
    return Told(_asked(with_input(record["instruction"], instance["input"]), instance["output"]), record["id"])


def read_prompted(record: Record) -> Told:
    """Read a prompt and its completion."""
    return Told(_asked(record["prompt"], record["completion"]), record["template"])


def read_glaive(record: Record) -> Told:
    """Read turns of `from` and `value`, in which calls and results are JSON text, and the tools' definitions."""
    turns = [_glaive_turn(turn["from"], turn["value"]) for turn in record["conversations"]]
    return Told(turns, tools=tuple(json.loads(record["tools"])))


def read_messages_record(record: Record) -> Told | LeftOut:
    """Read messages with calls, whose results may be any JSON value: they become JSON text."""
    turns = [_text_result(turn) for turn in record["messages"]]
    return Told(turns, record["id"]) if turns[-1]["role"] == "assistant" else LeftOut.BROKEN_DIALOGUE


def read_tau(record: Record) -> Told | LeftOut:
    """Read a trajectory that reached its goal, up to the assistant's last message.

    What follows it, the simulated user's word that all is done or the result of a last call, asks for no answer.
    """
    if record["reward"] != 1.0:
        return LeftOut.LOW_RATED
    turns = list(record["messages"])
    while turns and turns[-1]["role"] != "assistant":
        turns.pop()
    return Told(turns, f"task {record['task_id']}, trial {record['trial']}")


def read_taskmaster(record: Record) -> Told | LeftOut:
    """Read a dialogue and its next action, where that is rated good. The agent's greeting at its start is left out."""
    if record["reward"] != 1.0:
        return LeftOut.LOW_RATED
    turns = [_taskmaster_turn(turn) for turn in (*record["context"], record["generation"])]
    if turns[0]["role"] == "assistant":
        turns = turns[1:]
    return Told(turns, f"{record['set']} {record['id']}")


def _asked(request: str, answer: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": request}, {"role": "assistant", "content": answer.strip()}]


def _glaive_turn(who: str, text: str) -> dict[str, Any]:
    if who == "function_call":
        return {"role": "assistant", "tool_calls": [json.loads(text)]}
    return {"role": "tool" if who == "observation" else ROLES[who], "content": text}


def _text_result(turn: Record) -> dict[str, Any]:
    if turn["role"] == "tool" and not isinstance(turn["content"], str):
        return {**turn, "content": json.dumps(turn["content"], ensure_ascii=False)}
    return dict(turn)


def _taskmaster_turn(turn: Record) -> dict[str, Any]:
    if "response" in turn:
        return {"role": "tool", "content": json.dumps(turn["response"], ensure_ascii=False)}
    if "api" in turn:
        calls = [{"name": name, "arguments": arguments} for name, arguments in turn["api"].items()]
        return {"role": "assistant", "tool_calls": calls}
    return {"role": "assistant" if turn["role"] == "agent" else turn["role"], "content": turn["text"]}


_ALL_THERE: Final[frozenset[Lacks]] = frozenset()
_NO_TOOLS: Final = frozenset({Lacks.TOOLS})
_ONE_BY_ONE: Final[Mapping[str, tuple[Callable[[Record], Told | LeftOut], str, frozenset[Lacks]]]] = {
    "flan_cot": (read_flan_cot, "Apache-2.0", _ALL_THERE),
    "gpteacher": (read_gpteacher, "MIT", _ALL_THERE),
    "p3_subset": (read_prompted, "Apache-2.0; parts MIT, BSD, CC-BY, CC-BY-SA", _ALL_THERE),
    "self_instruct_seed_tasks": (read_instances, "Apache-2.0", _ALL_THERE),
    "user_oriented_instructions": (read_instances, "Apache-2.0", _ALL_THERE),
    "tool_glaive_300": (read_glaive, "Apache-2.0", _ALL_THERE),
    "tool_sgd_dialogues": (read_messages_record, "CC-BY-SA-4.0", _NO_TOOLS),
    "tool_taskmaster4_coffee": (read_messages_record, "CC-BY-4.0", _NO_TOOLS),
    "taskmaster_reward": (read_taskmaster, "CC-BY-4.0", _NO_TOOLS),
    "tau_bench_airline_trajectories": (read_tau, "MIT", _NO_TOOLS),
}
READERS: Final[Mapping[str, SetReader]] = MappingProxyType(
    {name: SetReader(each(read, name), license, lacks) for name, (read, license, lacks) in _ONE_BY_ONE.items()}
)
"""The sets that can be read. Those that lack tools call functions that no definition comes with."""


@config
class DemonstrationSetConfig:
    """One set of demonstrations."""

    set: str
    """`demonstrations` for a file in our form, or the name of a published set, by which it is read."""
    path: Path
    """The file, JSONL, plain or gzip."""

    def __post_init__(self) -> None:
        if self.set != OWN_FORM and self.set not in READERS:
            raise ValueError(f"unknown set '{self.set}' (known: {', '.join([OWN_FORM, *READERS])})")


class DemonstrationSet(NamedTuple):
    """The demonstrations of a set, and how many of its records gave none, by reason."""

    demonstrations: tuple[Demonstration, ...]
    left_out: dict[LeftOut, int]


def read_demonstration_set(config: DemonstrationSetConfig) -> DemonstrationSet:
    """Read a set. Damaged records are counted.

    Errors: `UserError` that names file and line, for a record of another set; and for a file without a demonstration.
    """
    if config.set == OWN_FORM:
        return DemonstrationSet(tuple(read_demonstrations(config.path)), {})
    reader = READERS[config.set]
    results = [
        _demonstration(told, config.set, reader.license) if isinstance(told, Told) else told
        for told in reader.read(read_objects(config.path))
    ]
    return DemonstrationSet(*sort_out(results, config.path, "demonstration"))


def _demonstration(told: Told, name: str, license: str) -> Demonstration | LeftOut:
    messages = dialogue(told.turns) if told.turns else LeftOut.BROKEN_DIALOGUE
    if isinstance(messages, LeftOut):
        return messages
    if messages[-1].role != "assistant":
        return LeftOut.BROKEN_DIALOGUE
    if any(is_empty(message) for message in messages if message.role == "assistant"):
        return LeftOut.EMPTY_ANSWER
    source = f"{name}: {told.item}" if told.item else name
    return Demonstration(messages=messages, tools=tuple(read_tools(told.tools)), source=source, license=license)
