import json
import random

import pytest

from codling.skills.skill import Message, Split
from codling.skills.tool_dialogues import MAKERS
from codling.tokenizer.messages import read_messages


def conversations(category: str, split: Split = "train", count: int = 400) -> list[list[Message]]:
    rng = random.Random(0)
    return [MAKERS[category](split, rng) for _ in range(count)]


@pytest.mark.parametrize("split", ["train", "heldout"])
@pytest.mark.parametrize("category", MAKERS)
def test_conversations_are_well_formed(category: str, split: Split) -> None:
    for messages in conversations(category, split):
        read_messages(messages)
        assert messages[0]["role"] == "user"
        assert messages[-1]["role"] == "assistant"


@pytest.mark.parametrize("category", ["single", "follow_up"])
def test_every_argument_was_said_before(category: str) -> None:
    for messages in conversations(category):
        said = "\n".join(m.get("content") or json.dumps(m["tool_calls"]) for m in messages[:-1])
        (call,) = messages[-1]["tool_calls"]
        assert all(value in said for value in call["arguments"].values())


def test_follow_ups_lean_on_the_turns_before() -> None:
    for messages in conversations("follow_up"):
        last = next(m["content"] for m in reversed(messages) if m["role"] == "user")
        (call,) = messages[-1]["tool_calls"]
        assert any(value not in last for value in call["arguments"].values())


def test_other_categories_end_in_text() -> None:
    assert all("content" in messages[-1] for messages in conversations("no_tool"))
    for messages in conversations("confirmation"):
        assert messages[-2]["role"] == "tool"
        if messages[-2]["content"].startswith("error: "):
            assert messages[-2]["content"].removeprefix("error: ") in messages[-1]["content"]


def test_conversations_fit_a_short_context() -> None:
    """At about 3.5 characters a token, so that the longest fit into 256 tokens with room for their frame."""
    lengths = [
        sum(len(m.get("content") or json.dumps(m["tool_calls"])) for m in messages)
        for category in MAKERS
        for messages in conversations(category)
    ]
    assert max(lengths) < 600
    assert sorted(lengths)[len(lengths) // 2] < 300
