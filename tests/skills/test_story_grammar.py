import random
import re

import pytest

from codling.skills.skill import Split
from codling.skills.story_grammar import CATEGORIES, ask, tell


def sentences(text: str) -> list[str]:
    return re.split(r"(?<=\.) ", text)


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_stories_hold_one_answer_and_some_wrong_ones(split: Split) -> None:
    rng = random.Random(0)
    for _ in range(300):
        story = tell(split, rng)
        assert 3 <= len(sentences(story.text)) <= 6
        assert len({event.actor.name for event in story.events}) >= 2
        for part in ("past", "spot"):
            assert len({getattr(event, part) for event in story.events}) == len(story.events)
        things = [event.thing.split(" ", 1)[1] for event in story.events if event.thing]
        assert len(set(things)) == len(things) >= 1
        for event in story.events:
            (sentence,) = [s for s in sentences(story.text) if f" {event.past} " in s and event.spot in s]
            assert event.thing in sentence
            assert sentence.startswith((f"{event.actor.name} ", f"{event.actor.pronoun} "))


@pytest.mark.parametrize("category", CATEGORIES)
def test_answers_follow_from_the_events(category: str) -> None:
    rng = random.Random(1)
    for _ in range(300):
        story = tell("train", rng)
        question, answer = ask(story, category, rng)
        (event,) = [e for e in story.events if re.search(rf"\b(?:{e.past}|{e.base})\b", question)]
        expected = {"who": event.actor.name, "where": event.spot, "what": f"a {event.thing}"}
        expected["yes_no"] = "yes" if event.actor.name in question else "no"
        assert answer.replace("an ", "a ") == expected[category]


def test_a_pronoun_follows_only_on_its_own_character() -> None:
    rng = random.Random(2)
    num_pronouns = 0
    for _ in range(500):
        story = tell("train", rng)
        told = sentences(story.text)[-len(story.events) :]
        for before, event, sentence in zip(story.events, story.events[1:], told[1:], strict=False):
            if sentence.startswith(("He ", "She ")):
                num_pronouns += 1
                assert before.actor == event.actor
    assert num_pronouns > 50


def test_yes_and_no_are_balanced() -> None:
    rng = random.Random(3)
    answers = [ask(tell("train", rng), "yes_no", rng).answer for _ in range(1000)]
    assert 430 < answers.count("yes") < 570
    assert set(answers) == {"yes", "no"}


def test_splits_share_neither_names_nor_things_nor_places() -> None:
    words: dict[str, set[str]] = {}
    for split in ("train", "heldout"):
        rng = random.Random(4)
        events = [event for _ in range(500) for event in tell(split, rng).events]
        words[split] = {word for e in events for word in (e.actor.name, e.spot, e.thing[e.thing.find(" ") :])}
    assert words["train"] & words["heldout"] <= {""}
