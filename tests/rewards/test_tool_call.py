import pytest

from codling.rewards.tool_call import ToolCallCheck, score_tool_call
from codling.skills.skill import Answer

DUE = {"title": "lunch", "date": "friday"}
CHECK = ToolCallCheck(name="create_event", arguments=DUE)
LENIENT = ToolCallCheck(name="create_event", arguments=DUE, gives_partial_credit=True)


def call(name: str, **arguments: str) -> Answer:
    return Answer("", ({"name": name, "arguments": arguments},))


@pytest.mark.parametrize(
    ("answer", "strict", "lenient"),
    [
        (call("create_event", **DUE), 1.0, 1.0),
        (call("create_event", title="lunch"), 0.0, 2 / 3),
        (call("create_event", **DUE, place="home"), 0.0, 3 / 4),
        (call("create_reminder", **DUE), 0.0, 0.0),
        (Answer("", call("create_event", **DUE).tool_calls * 2), 0.0, 0.0),
        (Answer("Done."), 0.0, 0.0),
        (Answer(), 0.0, 0.0),
    ],
)
def test_a_call_that_is_due(answer: Answer, strict: float, lenient: float) -> None:
    assert score_tool_call(CHECK, answer) == strict
    assert score_tool_call(LENIENT, answer) == pytest.approx(lenient)


def test_where_none_is_due_words_are_right() -> None:
    check = ToolCallCheck(name=None)
    assert score_tool_call(check, Answer("Hello!")) == 1.0
    assert score_tool_call(check, Answer("")) == 0.0
    assert score_tool_call(check, call("create_event")) == 0.0
