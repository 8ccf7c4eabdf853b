import random

import pytest

from codling.errors import UserError
from codling.skills.grammar import article, as_typed, choose, expansions, fill, say, share


def test_every_draw_is_an_expansion() -> None:
    pattern = "[please |]remind me to {task}[.|!|]"
    forms = expansions(pattern)
    assert len(forms) == len(set(forms)) == 6
    rng = random.Random(0)
    assert {choose(pattern, rng) for _ in range(200)} == set(forms)


def test_slots_stay_what_was_said_whatever_the_letters() -> None:
    seen = set()
    for seed in range(200):
        said = as_typed(
            say("{title} [with me|] at {time}", {"title": "tea", "time": "3 PM"}, random.Random(seed)),
            random.Random(seed),
        )
        start, end = said.spans["time"]
        assert said.text[start:end] == said.said("time")
        assert said.text.startswith(said.said("title"))
        seen.add((said.said("title"), said.said("time")))
    assert seen == {("tea", "3 pm"), ("Tea", "3 PM"), ("TEA", "3 PM")}


def test_fill_is_format() -> None:
    values = {"a": "one", "b": "", "c": "three"}
    template = "x {a}{b}, {c} and {a}"
    assert fill(template, values).text == template.format(**values)
    assert fill(template, values).said("missing") == ""


def test_shares_part_the_values() -> None:
    values = [str(number) for number in range(23)]
    train, heldout = share(values, "train"), share(values, "heldout")
    assert sorted(train + heldout) == sorted(values)
    assert len(heldout) == 4


def test_articles() -> None:
    assert article("old key") + "old key" == "an old key"
    assert article("key") == "a "


@pytest.mark.parametrize("pattern", ["a|b", "[a|b", "a]", "[a[b|c]]"])
def test_unpaired_brackets_are_refused(pattern: str) -> None:
    with pytest.raises(UserError, match="brackets"):
        expansions(pattern)


def test_open_slots_are_refused() -> None:
    with pytest.raises(UserError, match="slot 'task'"):
        fill("do {task}", {})
