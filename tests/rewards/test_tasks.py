import pytest

from codling.data.conversations import ConversationsConfig, build_skill
from codling.errors import UserError
from codling.rewards.check import score
from codling.rewards.tasks import check_of
from codling.skills.skill import Answer, Example, assistant, user

CONFIG = ConversationsConfig(num_train_by_skill={}, num_heldout=1)
SKILLS = ("tool_calls", "arithmetic", "formats", "intents", "story_answers")


@pytest.mark.parametrize("name", SKILLS)
def test_a_check_and_its_skill_agree_on_every_answer(name: str) -> None:
    skill = build_skill(name, CONFIG)
    examples = skill.examples("heldout", 60, 0)
    answers = [example.target for example in examples] + [Answer("I do not know 7."), Answer()]
    for example in examples:
        check = check_of(example)
        assert score(check, example.target) == 1.0
        for answer in answers:
            # A greeting that says nothing is no greeting, whatever the skill's own score makes of it.
            is_silent = answer == Answer()
            assert (score(check, answer) == 1.0) == (skill.score(answer, example).exact and not is_silent)


def test_what_cannot_be_checked_is_an_error() -> None:
    essay = Example((user("write an essay"), assistant("It is long.")), (), "essays", "any")
    with pytest.raises(UserError, match="skill essays: its answers have no check"):
        check_of(essay)
