from collections import Counter

import pytest

from codling.errors import UserError
from codling.skills.formats import Formats, constraints_of
from codling.skills.skill import Answer

TRAIN, HELDOUT = Formats().examples("train", 1500, 0), Formats().examples("heldout", 300, 0)


def test_targets_meet_every_constraint() -> None:
    for example in TRAIN + HELDOUT:
        assert Formats().score(example.target, example) == (True, 1.0), example


def test_examples_repeat_with_the_seed_and_the_splits_share_no_request() -> None:
    assert Formats().examples("train", 50, 0) == TRAIN[:50]
    assert Formats().examples("train", 50, 1) != TRAIN[:50]
    assert not {e.request for e in TRAIN} & {e.request for e in HELDOUT}


def test_requests_vary_in_what_they_ask() -> None:
    kinds = Counter(kind.kind for example in TRAIN for kind in constraints_of(example))
    assert kinds.keys() == {
        "words", "sentences", "includes", "excludes", "letter_case", "starts_with", "ends_with", "bullets", "quoted"
    }  # fmt: skip
    assert min(kinds.values()) > 50
    assert {e.category for e in TRAIN} == {"sentence_1", "sentence_2", "list_1", "list_2"}
    assert len({e.request for e in TRAIN}) > 1200


def test_bare_keywords_are_no_sentence() -> None:
    for example in TRAIN:
        if example.category.startswith("sentence"):
            topic = example.request.split(".")[0].split()[-1]
            assert not Formats().score(Answer(topic), example).exact


def test_the_share_met_is_the_partial_score() -> None:
    example = next(e for e in TRAIN if "small letters" in e.request and e.category == "sentence_1")
    exact, partial = Formats().score(Answer(example.target.text.upper()), example)
    assert not exact
    assert partial == 1 - 1 / len(constraints_of(example))
    assert Formats().score(Answer(" "), example) == (False, 0.0)
    assert Formats().score(example.target._replace(tool_calls=({},)), example) == (False, 0.0)


def test_baselines_are_far_from_right() -> None:
    assert all(value < 0.2 for value in Formats().baselines(TRAIN, HELDOUT).values())


def test_an_example_without_constraints_is_refused() -> None:
    with pytest.raises(UserError, match="has no constraints"):
        Formats().score(Answer("x"), TRAIN[0]._replace(check=None))
    with pytest.raises(UserError, match="at least 1"):
        Formats().examples("train", 0, 0)
