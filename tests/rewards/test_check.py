import json
from typing import Any

import pytest

from codling.config import to_dict
from codling.errors import UserError
from codling.rewards.check import Check, WeightedCheck, read_check, score
from codling.rewards.format import FormatCheck
from codling.rewards.number import NumberCheck
from codling.rewards.python_tests import PythonTestsCheck
from codling.rewards.text import TextCheck
from codling.rewards.tool_call import ToolCallCheck
from codling.skills.constraints import HasWord
from codling.skills.skill import Answer

CHECKS: list[tuple[Check, Answer]] = [
    (NumberCheck(number="85"), Answer("It is 85.")),
    (TextCheck(texts=("yes",)), Answer("Yes.")),
    (ToolCallCheck(name="stop", arguments={}), Answer("", ({"name": "stop", "arguments": {}},))),
    (ToolCallCheck(name=None), Answer("Hello.")),
    (FormatCheck(constraints=(HasWord(word="cat"),)), Answer("A cat.")),
    (PythonTestsCheck(tests=("assert one == 1",)), Answer("one = 1")),
]
WEIGHTED = WeightedCheck(checks=(NumberCheck(number="1"), TextCheck(texts=("1",))), weights=(3.0, 1.0))


@pytest.mark.parametrize(("check", "right"), CHECKS, ids=lambda value: type(value).__name__)
def test_every_check_gives_one_to_what_is_right_and_nothing_to_silence(check: Check, right: Answer) -> None:
    assert score(check, right) == 1.0
    assert score(check, Answer()) == 0.0
    assert score(check, Answer("", ({"name": "", "arguments": "{"},))) == 0.0


@pytest.mark.parametrize("check", [*(check for check, _ in CHECKS), WEIGHTED], ids=lambda value: type(value).__name__)
def test_checks_are_plain_data(check: Check) -> None:
    assert read_check(json.loads(json.dumps(to_dict(check))), source="x") == check


def test_weights_are_shares() -> None:
    assert score(WEIGHTED, Answer("1")) == 1.0
    assert score(WEIGHTED, Answer("it is 1")) == 0.75
    assert score(WEIGHTED, Answer("2")) == 0.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "beauty"}, "beauty"),
        ({"number": "8"}, "kind"),
        ({"kind": "number", "number": "eight"}, "number 'eight' is none"),
        ({"kind": "number", "number": "8", "unit": "m"}, "unit"),
        ({"kind": "weighted", "checks": [], "weights": []}, "0 weights for 0 checks"),
        (
            {"kind": "weighted", "checks": [{"kind": "number", "number": "1"}], "weights": [-1.0]},
            "none may be negative",
        ),
        ({"kind": "format", "constraints": []}, "name at least one"),
    ],
)
def test_bad_checks_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=rf"^prompts.jsonl:7: .*{message}"):
        read_check(values, source="prompts.jsonl:7")
