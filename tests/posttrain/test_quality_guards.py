"""Every guard has what it stops and, next to it, what it lets pass."""

from typing import Any

import pytest

from codling.posttrain.demonstrations import Demonstration
from codling.posttrain.quality_guards import GUARDS, Fault, GuardConfig, find_fault, guard, repeated_share
from codling.tokenizer.chat_template import encode_chat
from codling.tokenizer.messages import Message, ToolCall
from tests.conftest import Pair

CONFIG = GuardConfig(row_length_tokens=2000)
LIST = "\n".join(f"- The {name} costs {price} pounds." for price, name in enumerate(("hat", "cup", "pen", "bag"), 3))
PROSE = (
    "The river rises in the hills, runs past the old mill and turns south at the bridge. In spring it floods the "
    "meadows, and in summer children wade through it. Nobody has fished there since the mill was closed."
)


def say(answer: str | None, *calls: dict[str, Any], request: str = "Tell me.", tools: tuple[str, ...] = ()) -> Any:
    return Demonstration(
        messages=(
            Message(role="user", content=request),
            Message(role="assistant", content=answer, tool_calls=tuple(ToolCall(**call) for call in calls)),
        ),
        tools=tuple({"name": name, "parameters": {"type": "object"}} for name in tools),
        source="s",
        license="l",
    )


CALL = {"name": "draw", "arguments": {"color": "green", "size": 2.5, "text": 'a "b" <|end|> \n é'}}
NOT_A_NUMBER = {"name": "draw", "arguments": {"size": float("nan")}}


@pytest.mark.parametrize(
    ("demonstration", "fault"),
    [
        (say("a\x00b"), Fault.NOT_TEXT),
        (say("caf\ufffd"), Fault.NOT_TEXT),
        (say("half \ud83d"), Fault.NOT_TEXT),
        (say("fine", request="a\x1bb"), Fault.NOT_TEXT),
        (say(None, {"name": "draw", "arguments": {"color": "gr\ufffd"}}), Fault.NOT_TEXT),
        (say("\u200b \u00a0\u200d"), Fault.EMPTY),
        (say(" Tell me.\n"), Fault.ECHO),
        (say("There are three kinds of them: a hat,"), Fault.CUT_OFF),
        (say("Here they are:"), Fault.CUT_OFF),
        (say("It was made of wood and"), Fault.CUT_OFF),
        (say("Call it with print("), Fault.CUT_OFF),
        (say("Try this:\n```\nprint(1)\n"), Fault.CUT_OFF),
        (say("I do not know. " * 12), Fault.REPEATS),
        (say("a" * 1000), Fault.REPEATS),
        (say("!" * 40), Fault.REPEATS),
        (say('<tool_call>{"name": "draw"}</tool_call>'), Fault.UNREADABLE_CALL),
        (say('<|tool_call|>{"name":"draw","arguments":{}}'), Fault.UNREADABLE_CALL),
        (say(None, NOT_A_NUMBER), Fault.UNREADABLE_CALL),
        (say(None, CALL, tools=("paint", "erase")), Fault.UNKNOWN_TOOL),
        (say(" ".join(map(str, range(2000)))), Fault.TOO_LONG),
    ],
)
def test_faults_are_found(pair: Pair, demonstration: Demonstration, fault: Fault) -> None:
    assert find_fault(demonstration, pair.tokenizer, CONFIG) is fault


@pytest.mark.parametrize(
    "demonstration",
    [
        say("yes"),
        say("B"),
        say("a"),
        say("ha ha ha ha"),
        say("42"),
        say("é 漢字 🙂\n\ttab"),
        say("Sorry to hear that :("),
        say("x = [1, 2]"),
        say("Try this:\n```\nprint(1)\n```"),
        say(LIST),
        say(PROSE),
        say("Let me draw it:", CALL),
        say(None, CALL),
        say(None, CALL, CALL, tools=("paint", "draw")),
        say("Tell me.", CALL),
        say("No tool can do that.", tools=("draw",)),
        say("Tell me. Please."),
    ],
)
def test_what_may_be_right_passes(pair: Pair, demonstration: Demonstration) -> None:
    assert find_fault(demonstration, pair.tokenizer, CONFIG) is None


def test_every_message_of_the_assistant_is_looked_at(pair: Pair) -> None:
    turns = ("Hello.", "Hello there,", "Go on.", "I shall.")
    messages = tuple(Message(role=("user", "assistant")[turn % 2], content=text) for turn, text in enumerate(turns))
    broken_first = Demonstration(messages=messages, source="s", license="l")
    assert find_fault(broken_first, pair.tokenizer, CONFIG) is Fault.CUT_OFF


def test_what_fits_a_row_to_the_token_passes(pair: Pair) -> None:
    demonstration = say(PROSE)
    length = len(encode_chat(pair.tokenizer, demonstration.messages).ids)
    for row, fault in ((length - 1, None), (length - 2, Fault.TOO_LONG)):
        assert find_fault(demonstration, pair.tokenizer, GuardConfig(row_length_tokens=row)) is fault


def test_the_rest_is_kept_in_order_and_every_loss_is_counted_once(pair: Pair) -> None:
    good = [say("yes"), say("no"), say(PROSE)]
    # The last two have two faults each.
    bad = [say("\u200b"), say("So,"), say("Well,"), say("a\x00,"), say("Tell me.", request="Tell me.")]
    kept, left_out = guard([good[0], *bad[:3], good[1], *bad[3:], good[2]], pair.tokenizer, CONFIG)
    assert list(kept) == good
    assert left_out == {Fault.EMPTY: 1, Fault.CUT_OFF: 2, Fault.NOT_TEXT: 1, Fault.ECHO: 1}
    assert guard([], pair.tokenizer, CONFIG) == ((), {})


def test_every_fault_has_its_guard_and_its_own_name() -> None:
    assert set(GUARDS) == set(Fault)
    assert len({fault.value for fault in Fault}) == len(Fault)


@pytest.mark.parametrize(
    ("text", "share", "num_phrases"),
    [("", 0.0, 0), ("one two three", 0.0, 0), ("a b a b a b", 1 - 2 / 3, 3), ("a, b. C d", 0.0, 3)],
)
def test_repeated_share_counts_phrases(text: str, share: float, num_phrases: int) -> None:
    found_share, found_num_phrases = repeated_share(text, 4)
    assert found_share == pytest.approx(share)
    assert found_num_phrases == num_phrases
