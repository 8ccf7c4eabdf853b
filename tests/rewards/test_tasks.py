"""A check judges as its skill does."""

import pytest

from codling.data.conversations import ConversationsConfig, build_skill
from codling.errors import UserError
from codling.rewards.check import read_check, score, write_check
from codling.rewards.tasks import check_of
from codling.skills.skill import Answer, Example, assistant, user

JUDGED = ("tool_calls", "story_answers", "intents", "arithmetic", "formats")


@pytest.mark.parametrize("name", JUDGED)
def test_checks_and_skills_agree(name: str) -> None:
    skill = build_skill(name, ConversationsConfig(num_train_by_skill={name: 1}, num_heldout=1))
    train, heldout = skill.examples("train", 300, 0), skill.examples("heldout", 60, 0)
    guessers = skill.guessers(train)
    for example in heldout:
        check = check_of(example)
        assert read_check(write_check(check), source="x") == check
        assert score(check, example.target) == 1
        for answer in (guess(example) for guess in guessers.values()):
            if answer.text.strip() or answer.tool_calls:
                assert (score(check, answer) == 1) == skill.score(answer, example).exact
        assert score(check, Answer()) == 0


def test_an_example_may_bring_its_own() -> None:
    own = {"kind": "number", "expected": "3"}
    example = Example((user("Two and one?"), assistant("3")), (), "any", "", own)
    assert write_check(check_of(example)) == own
    with pytest.raises(UserError, match=r"check of 'Two and one\?'.*'vibes'"):
        check_of(example._replace(check={"kind": "vibes"}))


def test_a_skill_without_checks_is_named() -> None:
    with pytest.raises(UserError, match="'proofread'"):
        check_of(Example((user("Correct this: a"), assistant("A")), (), "proofread", "capital"))
