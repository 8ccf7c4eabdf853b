from collections.abc import Mapping
from typing import Any

import pytest

from codling.errors import UserError
from codling.posttrain.set_records import LeftOut, dialogue, each, split_turns, with_input


def test_a_dialogue_is_taken_apart_at_its_turns() -> None:
    text = "\n\nHuman: Hi.\n\nOne more line; Human: no turn.\n\nAssistant:Hello.\n\nHuman:"
    assert split_turns(text) == [
        {"role": "user", "content": "Hi.\n\nOne more line; Human: no turn."},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": ""},
    ]
    with pytest.raises(ValueError, match="before the first turn"):
        split_turns("Well.\n\nHuman: Hi.")


def test_turns_out_of_order_are_a_reason_and_not_an_error() -> None:
    user, assistant = ({"role": role, "content": "x"} for role in ("user", "assistant"))
    messages = dialogue([user, assistant])
    assert not isinstance(messages, LeftOut)
    assert [message.role for message in messages] == ["user", "assistant"]
    assert dialogue([assistant, user]) is LeftOut.BROKEN_DIALOGUE


@pytest.mark.parametrize(
    ("record", "problem"),
    [({"b": 1}, "no key 'a'"), ({"a": None}, "NoneType"), ({"a": "x"}, "x")],
)
def test_another_record_is_an_error_with_its_place(record: Mapping[str, Any], problem: str) -> None:
    read = each(lambda record: int(record["a"].strip()), "numbers")
    assert list(read([("f:1", {"a": "3"})])) == [3]
    with pytest.raises(UserError, match=f"f:2: not a record of numbers .*{problem}"):
        list(read([("f:2", record)]))


def test_an_instruction_stands_alone_without_input() -> None:
    assert with_input("Do.", "This.") == "Do.\n\nThis."
    assert with_input("Do.", " ") == "Do."
