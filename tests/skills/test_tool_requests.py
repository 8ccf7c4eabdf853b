import random

import pytest

from codling.skills import tool_requests
from codling.skills.skill import Split
from codling.skills.tool_requests import ARGUMENTS, ordered

MAKERS = {
    "event": tool_requests.event,
    "reminder": tool_requests.reminder,
    "listing": tool_requests.listing,
    "event_without_details": tool_requests.event_without_details,
    "reminder_without_time": tool_requests.reminder_without_time,
}


@pytest.mark.parametrize("split", ["train", "heldout"])
@pytest.mark.parametrize("kind", MAKERS)
def test_arguments_are_said_and_the_text_is_finished(kind: str, split: Split) -> None:
    rng = random.Random(0)
    for _ in range(500):
        text, _, arguments = MAKERS[kind](split, rng)
        assert arguments
        assert all(value and value in text for value in arguments.values())
        assert not set("{}[]|") & set(text)
        assert "BODY" not in text
        assert "DETAILS" not in text
        assert "  " not in text
        assert text == text.strip()


def test_requests_vary_in_letters_and_form() -> None:
    rng = random.Random(0)
    texts = [tool_requests.event("train", rng).text for _ in range(1000)]
    assert len(set(texts)) > 990
    assert sum(text.islower() for text in texts) > 400
    assert 5 < sum(text.isupper() for text in texts) < 100
    assert sum(text[0].isupper() for text in texts) > 300


def test_each_kind_asks_for_its_tool() -> None:
    rng = random.Random(0)
    events = [tool_requests.event("train", rng) for _ in range(300)]
    assert {request.name for request in events} == {"create_event"}
    assert all(request.arguments.keys() & {"date", "time"} for request in events)
    assert all(tool_requests.reminder("train", rng).arguments.keys() == {"title", "when"} for _ in range(99))
    assert all(tool_requests.listing("train", rng).arguments.keys() == {"date"} for _ in range(99))


def test_arguments_come_in_one_order() -> None:
    shuffled = {
        "time": "noon",
        "lead": "at ",
        "title": "tea",
        "when": "now",
        "date": "today",
        "place": "home",
    }
    assert tuple(ordered(shuffled)) == ARGUMENTS
