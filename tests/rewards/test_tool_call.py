import json
import math
from typing import Any

import pytest

from codling.config import from_dict
from codling.errors import UserError
from codling.rewards.tool_call import ToolCallCheck
from codling.skills.skill import Answer
from codling.skills.tool_calls import score_calls

DUE = {"title": "tea", "time": "noon"}
MADE: list[dict[str, Any]] = [
    {"name": "create_event", "arguments": DUE},
    {"name": "create_event", "arguments": json.dumps(DUE)},
    {"name": "create_event", "arguments": {**DUE, "time": "1 pm"}},
    {"name": "create_event", "arguments": "not JSON"},
    {"name": "list_events", "arguments": DUE},
    {"name": "create_event", "arguments": {**DUE, "time": math.nan}},
    {},
]


@pytest.mark.parametrize("made", MADE)
def test_the_rule_is_that_of_the_skill(made: dict[str, Any]) -> None:
    due = {"name": "create_event", "arguments": DUE}
    exact, partial = score_calls([made], due)
    whole = ToolCallCheck(name="create_event", arguments=DUE)
    part = ToolCallCheck(name="create_event", arguments=DUE, partial_credit=True)
    assert whole.score(Answer("", (made,))) == exact
    assert part.score(Answer("", (made,))) == partial


def test_one_call_is_due() -> None:
    check = ToolCallCheck(name="create_event", arguments=DUE, partial_credit=True)
    assert check.score(Answer("create_event")) == check.score(Answer("", (MADE[0],) * 2)) == 0


def test_bad_input() -> None:
    with pytest.raises(UserError, match="key 'name' is missing"):
        from_dict(ToolCallCheck, {"arguments": {}}, source="x")
    with pytest.raises(UserError, match="unknown key 'partial'"):
        from_dict(ToolCallCheck, {"name": "f", "arguments": {}, "partial": True}, source="x")
