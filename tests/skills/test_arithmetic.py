import random
import re
from collections import Counter

import pytest

from codling.errors import UserError
from codling.skills.arithmetic import CATEGORIES, Arithmetic, Step, worked
from codling.skills.numbers import last_number
from codling.skills.skill import Answer

TRAIN, HELDOUT = Arithmetic().examples("train", 1500, 0), Arithmetic().examples("heldout", 300, 0)


def solve(request: str) -> int:
    """Read the request with other eyes than those that wrote it."""
    request = request.replace("plus", "+").replace("minus", "-")
    if found := re.search(r"(\d+) ([+-]) (\d+)", request):
        return int(found[1]) + int(found[3]) * (1 if found[2] == "+" else -1)
    start, *changes, _ = re.split(r"(?<=[.?]) ", request)
    total = int(re.findall(r"\d+", start)[0])
    for change in changes:
        total += int(re.findall(r"\d+", change)[0]) * (1 if change.endswith(" more.") else -1)
    return total


def test_targets_are_right() -> None:
    for example in TRAIN + HELDOUT:
        assert last_number(example.target.text) == solve(example.request), example


def test_every_step_of_the_work_is_true() -> None:
    rng = random.Random(0)
    for _ in range(500):
        left, right, sign = rng.randint(0, 999), rng.randint(0, 999), rng.choice("+-")
        step = Step(max(left, right), sign, min(left, right))
        title, _, steps = worked(step).partition(": ")
        *columns, result = re.split(r", (?:so )?", steps)
        assert title == f"{step.left}{sign}{step.right}"
        figures = ""
        for column in columns:
            sides = column.split("=")
            # "+" and "-" have one rank: evaluated from left to right.
            terms = re.findall(r"[+-]?\d+", sides[0])
            assert sum(map(int, terms)) == int(sides[1])
            figures = sides[1][-1] + figures
        assert int(columns[-1].split("=")[1] + figures[1:]) == int(result) == step.result


def test_examples_repeat_with_the_seed_and_the_splits_share_no_task() -> None:
    assert Arithmetic().examples("train", 50, 0) == TRAIN[:50]
    assert Arithmetic().examples("train", 50, 1) != TRAIN[:50]
    work = {split: {e.target.text for e in examples} for split, examples in (("a", TRAIN), ("b", HELDOUT))}
    assert not work["a"] & work["b"]
    assert Counter(e.category for e in TRAIN) == dict.fromkeys(CATEGORIES, 500)
    assert len({e.request for e in TRAIN}) > 1400


def test_requests_are_finished_and_short() -> None:
    for example in TRAIN:
        assert not set("{}[]|") & set(example.request)
        assert "  " not in example.request
        assert len(example.request) + len(example.target.text) < 220


def test_only_the_last_number_counts() -> None:
    skill, example = Arithmetic(), TRAIN[0]
    due = last_number(example.target.text)
    assert skill.score(example.target, example) == (True, 1.0)
    assert skill.score(Answer(f"{due}."), example).exact
    assert not skill.score(Answer(f"{due} 1"), example).exact
    assert skill.score(Answer(""), example) == (False, 0.0)
    assert not skill.score(Answer(f"{due}", ({"name": "f", "arguments": {}},)), example).exact


def test_baselines_are_far_from_right() -> None:
    assert all(value < 0.15 for value in Arithmetic().baselines(TRAIN, HELDOUT).values())


def test_a_count_below_one_is_refused() -> None:
    with pytest.raises(UserError, match="at least 1"):
        Arithmetic().examples("train", 0, 0)
