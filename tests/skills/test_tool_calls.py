import json
from collections import Counter

import pytest

from codling.errors import UserError
from codling.skills.skill import Answer, Example, assistant, calls, user
from codling.skills.tool_calls import CATEGORY_SHARES, TOOLS, ToolCalls

LUNCH = {"title": "lunch with ana", "date": "tomorrow", "time": "noon"}
REQUEST = Example((user("lunch with ana tomorrow at noon"), calls("create_event", LUNCH)), (), "tool_calls", "single")
GREETING = Example((user("hi"), assistant("Hello!")), (), "tool_calls", "no_tool")


def answer(name: str, arguments: object) -> Answer:
    return Answer("", ({"name": name, "arguments": arguments},))


def test_the_target_is_exact_and_repeats_with_the_seed() -> None:
    skill = ToolCalls()
    for split in ("train", "heldout"):
        examples = skill.examples(split, 300, 7)
        assert examples == skill.examples(split, 300, 7)
        assert examples != skill.examples(split, 300, 8)
        assert all(skill.score(example.target, example) == (True, 1.0) for example in examples)


def test_no_held_out_request_is_a_training_request() -> None:
    first = {
        split: {str(e.messages[0]["content"]).casefold() for e in ToolCalls().examples(split, 1500, 0)}
        for split in ("train", "heldout")
    }
    assert not first["train"] & first["heldout"]


def test_categories_have_their_shares() -> None:
    counts = Counter(example.category for example in ToolCalls().examples("train", 2000, 0))
    assert {c: round(n / 2000, 1) for c, n in counts.items()} == pytest.approx(CATEGORY_SHARES, abs=0.06)


def test_calls_keep_to_the_definitions() -> None:
    parameters = {tool["name"]: tool["parameters"] for tool in TOOLS}
    for example in ToolCalls().examples("heldout", 500, 0):
        for call in example.target.tool_calls:
            assert call["arguments"].keys() <= parameters[call["name"]]["properties"].keys()
            assert set(parameters[call["name"]]["required"]) <= call["arguments"].keys()


def test_tools_stand_in_the_prompt_only_if_asked_for() -> None:
    assert ToolCalls().examples("train", 1, 0)[0].tools == ()
    assert ToolCalls(tools_in_prompt=True).examples("train", 1, 0)[0].tools == TOOLS


@pytest.mark.parametrize(
    ("said", "exact", "partial"),
    [
        (answer("create_event", LUNCH), True, 1.0),
        (answer("create_event", json.dumps(LUNCH)), True, 1.0),
        (answer("create_event", {**LUNCH, "time": "1 pm"}), False, 3 / 4),
        (answer("create_event", {"title": "lunch with ana"}), False, 2 / 4),
        (answer("create_event", {**LUNCH, "place": "home"}), False, 4 / 5),
        (answer("create_event", "not JSON"), False, 1 / 4),
        (answer("create_reminder", LUNCH), False, 0.0),
        (answer("", {}), False, 0.0),
        (Answer("", (*answer("create_event", LUNCH).tool_calls * 2,)), False, 0.0),
        (Answer("Added: lunch with ana."), False, 0.0),
    ],
)
def test_calls_are_judged_by_name_and_arguments(said: Answer, exact: bool, partial: float) -> None:
    assert ToolCalls().score(said, REQUEST) == pytest.approx((exact, partial))


def test_where_no_tool_is_needed_any_text_will_do() -> None:
    skill = ToolCalls()
    assert skill.score(Answer("Good day"), GREETING).exact
    assert skill.score(Answer("Good day"), GREETING).partial < 1
    assert skill.score(answer("", {}), GREETING) == (False, 0.0)
    confirmation = GREETING._replace(category="confirmation")
    assert skill.score(Answer("hello!"), confirmation).exact
    assert not skill.score(Answer("Good day"), confirmation).exact


def test_baselines_are_far_from_right() -> None:
    skill = ToolCalls()
    baselines = skill.baselines(skill.examples("train", 500, 0), skill.examples("heldout", 200, 0))
    assert baselines["never call"] == pytest.approx(CATEGORY_SHARES["no_tool"], abs=0.1)
    assert all(value < 0.35 for value in baselines.values())


def test_a_count_below_one_is_refused() -> None:
    with pytest.raises(UserError, match="at least 1"):
        ToolCalls().examples("train", 0, 0)
