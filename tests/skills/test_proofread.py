import random
from collections import Counter

import pytest

from codling.data.sources import load_documents
from codling.errors import UserError
from codling.skills.proofread import INSTRUCTION, MISTAKES, Proofread
from codling.skills.skill import Answer, Example, assistant, mean_score, user

SENTENCE = "Their dog was too big for the little house."


@pytest.fixture(scope="module")
def skill() -> Proofread:
    return Proofread(load_documents("stories", "train"), load_documents("stories", "heldout"))


def given(example: Example) -> str:
    return example.request.removeprefix(INSTRUCTION)


def test_real_sentences_get_every_kind_of_mistake(skill: Proofread) -> None:
    examples = skill.examples("train", 2000, 0)
    assert examples == skill.examples("train", 2000, 0)
    counts = Counter(example.category for example in examples)
    assert counts.keys() == {*MISTAKES, "no_mistake", "two_mistakes"}
    assert 150 < counts["no_mistake"] < 250
    assert 300 < counts["two_mistakes"] < 500
    for example in examples:
        assert (given(example) == example.target.text) == (example.category == "no_mistake")
        assert skill.score(example.target, example) == (True, 1.0)


def test_no_held_out_sentence_is_a_training_sentence(skill: Proofread) -> None:
    train = {example.target.text for example in skill.examples("train", 5000, 0)}
    assert not train & {example.target.text for example in skill.examples("heldout", 500, 0)}


@pytest.mark.parametrize("kind", MISTAKES)
def test_each_mistake_is_what_it_says(kind: str) -> None:
    broken = {MISTAKES[kind](SENTENCE, random.Random(seed)) for seed in range(50)}
    assert SENTENCE not in broken
    length = {"drop": -1, "double": 1, "full_stop": -1}
    for text in broken:
        if kind == "swap":
            assert sorted(text) == sorted(SENTENCE)
        elif kind in length:
            assert len(text) == len(SENTENCE) + length[kind]
    examples = {
        "homophone": "Their dog was to big for the little house.",
        "agreement": "Their dog were too big for the little house.",
        "capital": "their dog was too big for the little house.",
        "full_stop": "Their dog was too big for the little house",
    }
    assert kind not in examples or examples[kind] in broken


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_that_cannot_be_made_changes_nothing(kind: str) -> None:
    assert MISTAKES[kind]("o, 3!", random.Random(0)) == "o, 3!"


def test_copying_is_near_but_not_right(skill: Proofread) -> None:
    train, heldout = skill.examples("train", 100, 0), skill.examples("heldout", 300, 0)
    copy = skill.guessers(train)["copy"]
    exact, partial, _ = mean_score(skill, [copy(example) for example in heldout], heldout)
    assert exact < 0.15
    assert partial > 0.95
    baselines = skill.baselines(train, heldout)
    assert exact == baselines["copy"] < baselines["capital and full stop"] < 0.5


def test_every_letter_counts(skill: Proofread) -> None:
    example = Example((user(INSTRUCTION + "a cat sat"), assistant("A cat sat.")), (), "", "capital")
    assert skill.score(Answer(" A cat sat.\n"), example).exact
    assert not skill.score(Answer("a cat sat."), example).exact
    assert skill.score(Answer("A cat sat.", ({"name": "f", "arguments": {}},)), example) == (False, 0.0)
    assert skill.guessers([])["capital and full stop"](example) == Answer("A cat sat.")


def test_stories_without_sentences_of_their_own_are_refused() -> None:
    with pytest.raises(UserError, match="the train stories hold no plain sentence"):
        Proofread(["12345"], [SENTENCE])
    with pytest.raises(UserError, match="the heldout stories hold no plain sentence"):
        Proofread([SENTENCE], [SENTENCE])
