import re
from collections import Counter

import pytest

from codling.errors import UserError
from codling.skills.arithmetic import CATEGORY_SHARES, Arithmetic, worked_difference, worked_sum
from codling.skills.skill import Answer, Example, assistant, calls, user

EXAMPLE = Example((user("what is 47 + 38?"), assistant(worked_sum(47, 38))), (), "arithmetic", "sum")


def test_steps_go_from_the_right_and_carry() -> None:
    assert worked_sum(47, 38) == "7 + 8 = 15. 4 + 3 + 1 = 8. The answer is 85."
    assert worked_sum(4, 12) == "4 + 2 = 6. 0 + 1 = 1. The answer is 16."
    assert worked_difference(83, 38) == "13 - 8 = 5. 8 - 3 - 1 = 4. The answer is 45."
    assert worked_difference(9, 9) == "9 - 9 = 0. The answer is 0."


def test_every_step_is_true_and_the_last_digits_make_the_answer() -> None:
    for first in range(0, 100, 7):
        for second in range(0, first + 1, 3):
            for worked, answer in ((worked_sum, first + second), (worked_difference, first - second)):
                *steps, last = worked(first, second).removesuffix(".").split(". ")
                for step in steps:
                    left, _, right = step.partition(" = ")
                    assert eval(left) == int(right)  # digits and signs that we wrote
                assert last == f"The answer is {answer}"
                digits = "".join(step[-1] for step in reversed(steps))
                assert int(digits) == answer % 10 ** len(steps)


def test_examples_repeat_with_the_seed_and_their_targets_are_exact() -> None:
    skill = Arithmetic()
    examples = skill.examples("heldout", 200, 3)
    assert examples == skill.examples("heldout", 200, 3) != skill.examples("heldout", 200, 4)
    assert all(skill.score(example.target, example) == (True, 1.0) for example in examples)


def test_no_held_out_request_is_a_training_request() -> None:
    asked = {
        split: {e.request.casefold() for e in Arithmetic().examples(split, 1000, 0)} for split in ("train", "heldout")
    }
    assert not asked["train"] & asked["heldout"]


def test_categories_have_their_shares_and_numbers_are_in_the_request() -> None:
    examples = Arithmetic().examples("train", 2000, 0)
    counts = Counter(example.category for example in examples)
    assert {c: round(n / 2000, 1) for c, n in counts.items()} == pytest.approx(CATEGORY_SHARES, abs=0.06)
    for example in examples[:100]:
        numbers = [int(number) for number in re.findall(r"\d+", example.request)]
        answer = int(re.findall(r"\d+", example.target.text)[-1])
        assert answer in (sum(numbers), abs(numbers[0] - numbers[1]))


@pytest.mark.parametrize(
    ("answer", "exact"),
    [
        (Answer("85"), True),
        (Answer("The answer is 58."), False),
        (Answer(""), False),
        (Answer("85", ({"name": "list_events", "arguments": {}},)), False),
        (Answer("eighty-five"), False),
    ],
)
def test_the_last_number_counts(answer: Answer, exact: bool) -> None:
    score = Arithmetic().score(answer, EXAMPLE)
    assert score.exact is exact
    assert 0.0 <= score.partial <= 1.0


def test_trivial_answers_know_little() -> None:
    skill = Arithmetic()
    baselines = skill.baselines(skill.examples("train", 1000, 0), skill.examples("heldout", 200, 0))
    assert max(baselines.values()) < 0.2


def test_a_tool_call_is_no_solution() -> None:
    wrong = Example((user("1 + 1"), calls("add", {})), (), "arithmetic", "sum")
    assert not Arithmetic().score(Answer("2"), wrong).exact


def test_bad_count_is_refused() -> None:
    with pytest.raises(UserError, match="at least 1"):
        Arithmetic().examples("train", 0, 0)
