from collections import Counter

import pytest

from codling.errors import UserError
from codling.skills.conversations import build_conversations, share_out
from codling.skills.proofread import Proofread
from codling.skills.skill import Skill
from codling.skills.story_answers import StoryAnswers
from codling.skills.tool_calls import ToolCalls

WEIGHTS = {"tool_calls": 5.0, "story_answers": 3.0, "proofread": 2.0}


@pytest.fixture(scope="module")
def skills() -> list[Skill]:
    return [
        ToolCalls(),
        StoryAnswers(),
        Proofread(["The cat was on the big mat."], ["The dog is in the yard."]),
    ]


def test_every_stretch_has_the_shares(skills: list[Skill]) -> None:
    examples = build_conversations(skills, WEIGHTS, 1000, 0)
    for start in range(0, 1000, 100):
        counts = Counter(example.skill for example in examples[start : start + 100])
        assert counts == {name: pytest.approx(10 * weight, abs=3) for name, weight in WEIGHTS.items()}


def test_the_seed_decides_the_stream(skills: list[Skill]) -> None:
    assert build_conversations(skills, WEIGHTS, 60, 1) == build_conversations(skills, WEIGHTS, 60, 1)
    assert build_conversations(skills, WEIGHTS, 60, 1) != build_conversations(skills, WEIGHTS, 60, 2)


def test_a_skill_keeps_its_examples_whatever_is_mixed_with_it(skills: list[Skill]) -> None:
    mixed = build_conversations(skills, WEIGHTS, 100, 0)
    alone = build_conversations(skills[:1], {"tool_calls": 1.0}, 50, 0)
    assert [example for example in mixed if example.skill == "tool_calls"] == alone


@pytest.mark.parametrize("count", [0, 1, 7, 100])
def test_parts_add_up_and_are_within_one_of_their_share(count: int) -> None:
    weights = [0.5, 3.0, 2.2, 0.01]
    parts = share_out(weights, count)
    assert sum(parts) == count
    assert all(abs(part - count * w / sum(weights)) < 1 for part, w in zip(parts, weights, strict=True))


def test_skills_and_weights_must_match(skills: list[Skill]) -> None:
    with pytest.raises(UserError, match="'proofread' needs both"):
        build_conversations(skills, {"tool_calls": 1.0, "story_answers": 1.0}, 10, 0)
    with pytest.raises(UserError, match="'poetry' needs both"):
        build_conversations(skills, {**WEIGHTS, "poetry": 1.0}, 10, 0)
    with pytest.raises(UserError, match="'proofread' is 0"):
        build_conversations(skills, {**WEIGHTS, "proofread": 0.0}, 10, 0)
    with pytest.raises(UserError, match="'tool_calls' is named twice"):
        build_conversations([*skills, ToolCalls()], WEIGHTS, 10, 0)
