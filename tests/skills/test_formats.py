import dataclasses
from pathlib import Path

import pytest

from codling.skills.example_files import read_examples, write_examples
from codling.skills.formats import CATEGORIES, Formats, constraints_of
from codling.skills.skill import Answer, assistant


def test_targets_meet_what_is_asked_for() -> None:
    skill = Formats()
    examples = skill.examples("train", 600, 0)
    assert examples == skill.examples("train", 600, 0)
    assert {example.category for example in examples} == set(CATEGORIES)
    assert all(skill.score(example.target, example) == (True, 1.0) for example in examples)


def test_no_held_out_request_is_a_training_request() -> None:
    asked = {split: {e.request for e in Formats().examples(split, 1000, 0)} for split in ("train", "heldout")}
    assert not asked["train"] & asked["heldout"]


def test_every_constraint_can_be_missed_by_another_s_target() -> None:
    """No constraint holds of everything: each is broken by some other target."""
    examples = Formats().examples("train", 300, 0)
    for example in examples[:40]:
        for constraint in constraints_of(example):
            assert not all(constraint.is_met(other.target.text) for other in examples), dataclasses.asdict(constraint)


def test_scores_go_by_the_constraints_and_not_by_the_target() -> None:
    skill = Formats()
    example = next(e for e in skill.examples("train", 100, 0) if e.category == "word")
    thing, word = (constraint.word for constraint in constraints_of(example))  # type: ignore[union-attr]
    assert skill.score(Answer(f"A {word} {thing}, of course!"), example) == (True, 1.0)
    assert skill.score(Answer(f"A {thing}."), example) == (False, 0.5)
    assert skill.score(Answer("Nothing."), example) == (False, 0.0)
    assert skill.score(Answer(" "), example) == (False, 0.0)
    assert skill.score(Answer(example.target.text, ({"name": "x", "arguments": {}},)), example) == (False, 0.0)


def test_checks_go_to_disk_and_come_back(tmp_path: Path) -> None:
    examples = Formats().examples("train", 5, 0)
    plain = examples[0]._replace(check=None, messages=(*examples[0].prompt, assistant("x")))
    write_examples(tmp_path / "formats.jsonl", [*examples, plain])
    assert read_examples(tmp_path / "formats.jsonl") == [*examples, plain]
    assert '"check"' not in (tmp_path / "formats.jsonl").read_text().splitlines()[-1]


def test_trivial_answers_know_little() -> None:
    skill = Formats()
    baselines = skill.baselines(skill.examples("train", 1000, 0), skill.examples("heldout", 200, 0))
    assert baselines["most frequent text"] < 0.3


@pytest.mark.parametrize("check", [{"constraints": [{"kind": "rhyme"}]}, {"constraints": [{"kind": "has_word"}]}])
def test_constraints_that_cannot_be_read_are_named(check: dict[str, object]) -> None:
    example = Formats().examples("train", 1, 0)[0]._replace(check=check)
    with pytest.raises(Exception, match="formats: "):
        constraints_of(example)
