from collections import Counter

import pytest

from codling.data.sources import load_requests
from codling.errors import UserError
from codling.skills.intents import ASSISTANT_INTENTS, INSTRUCTION, OTHER, Intents
from codling.skills.skill import Answer

TRAIN = [(f"set alarm {n}", "alarm") for n in range(20)] + [(f"book flight {n}", "book_flight") for n in range(20)]
TRAIN += [(f"unclear {n}", "oos") for n in range(20)] + [(f"old song {n}", "play_music") for n in range(20)]
HELDOUT = [(f"new {intent} {n}", intent) for _, intent in TRAIN[::20] for n in range(10)]
INTENTS = ("alarm", "book_flight")


def test_real_requests_are_learnable_by_counting_words() -> None:
    skill = Intents([*load_requests("train"), *load_requests("val")], load_requests("test"))
    train, heldout = skill.examples("train", 5000, 0), skill.examples("heldout", 300, 0)
    assert {e.target.text for e in train} == {i.replace("_", " ") for i in ASSISTANT_INTENTS} | {OTHER}
    assert not {e.request.casefold() for e in train} & {e.request.casefold() for e in heldout}
    baselines = skill.baselines(train, heldout)
    assert baselines["majority intent"] < 0.15
    assert baselines["naive Bayes"] > baselines["nearest request"] > 0.7


def test_examples_repeat_with_the_seed_and_are_right_by_themselves() -> None:
    skill = Intents(TRAIN, HELDOUT, INTENTS)
    examples = skill.examples("train", 50, 3)
    assert examples == skill.examples("train", 50, 3)
    assert all(skill.score(e.target, e) == (True, 1.0) for e in examples)
    assert all(e.request.startswith(INSTRUCTION) for e in examples)


def test_every_request_comes_once_before_any_comes_again() -> None:
    skill = Intents(TRAIN, HELDOUT, INTENTS, other_share=0.2)
    examples = skill.examples("train", 100, 0)
    assert Counter(e.target.text for e in examples) == {"alarm": 40, "book flight": 40, OTHER: 20}
    assert set(Counter(e.request for e in examples).values()) == {2}
    assert {e.category for e in examples if e.target.text == OTHER} == {OTHER}


def test_a_training_request_that_is_held_out_is_left_out() -> None:
    skill = Intents([*TRAIN, ("New alarm 0.", "alarm")], HELDOUT, INTENTS)
    assert "New alarm 0." not in {e.request.removeprefix(INSTRUCTION) for e in skill.examples("train", 99, 0)}


def test_case_does_not_count_but_words_do() -> None:
    skill = Intents(TRAIN, HELDOUT, INTENTS)
    example = next(e for e in skill.examples("train", 50, 0) if e.target.text == "book flight")
    assert skill.score(Answer("Book flight."), example).exact
    assert not skill.score(Answer("book"), example).exact
    assert not skill.score(Answer("book flight", ({"name": "f", "arguments": {}},)), example).exact


def test_bad_input() -> None:
    with pytest.raises(UserError, match="no train request has the intent 'weather'"):
        Intents(TRAIN, HELDOUT, ("alarm", "weather"))
    with pytest.raises(UserError, match="other_share is 1"):
        Intents(TRAIN, HELDOUT, INTENTS, other_share=1.0)
    with pytest.raises(UserError, match="99 held-out examples asked for, 22 there"):
        Intents(TRAIN, HELDOUT, INTENTS).examples("heldout", 99, 0)
