import random
import re

import pytest

from codling.skills import tool_slots
from codling.skills.grammar import share
from codling.skills.skill import Split


@pytest.mark.parametrize("make", [tool_slots.event_title, tool_slots.task, tool_slots.place])
def test_what_names_a_thing_is_never_shared_by_the_splits(make: object) -> None:
    assert callable(make)
    drawn: dict[str, set[str]] = {}
    for split in ("train", "heldout"):
        rng = random.Random(1)
        values = [make(split, rng) for _ in range(2000)]
        drawn[split] = {str(getattr(value, "value", value)) for value in values}
        assert len(drawn[split]) > 5
    assert not drawn["train"] & drawn["heldout"]


def test_titles_vary() -> None:
    rng = random.Random(0)
    titles = [tool_slots.event_title("train", rng) for _ in range(2000)]
    assert len({title.value for title in titles}) > 800
    assert {title.lead for title in titles} == {"", "a ", "an "}
    assert not any(title.value.startswith(("a ", "an ")) for title in titles)


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_days_of_a_question_belong_to_the_split(split: Split) -> None:
    rng = random.Random(0)
    own = share(tool_slots.DAYS_OF_YEAR, split)
    for _ in range(300):
        lead, day = tool_slots.day(split, rng, known_days=False)
        assert lead == "on "
        if of := re.fullmatch(r"the (\d+)(?:st|nd|rd|th) of (\w+)", day):
            day = f"{of[2]} {of[1]}"
        assert day in own


def test_ordinals() -> None:
    rng = random.Random(0)
    days = {tool_slots.day("train", rng).value for _ in range(5000)}
    endings = {match[1]: match[2] for day in days if (match := re.match(r"the (\d+)(\w\w)", day))}
    assert endings["1"] == endings["21"] == "st"
    assert endings["2"] == endings["22"] == "nd"
    assert endings["3"] == endings["23"] == "rd"
    assert endings["11"] == endings["12"] == endings["13"] == endings["4"] == "th"


def test_times_are_finished_phrases() -> None:
    rng = random.Random(0)
    phrases = [tool_slots.time(rng) for _ in range(300)] + [tool_slots.lead_time(rng) for _ in range(300)]
    phrases += [tool_slots.reminder_time("train", rng) for _ in range(300)]
    assert not any(set("{}[]|") & set(phrase) or phrase != phrase.strip() for phrase in phrases)
