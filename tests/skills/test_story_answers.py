from collections import Counter

import pytest

from codling.data.sources import load_documents
from codling.errors import UserError
from codling.skills.skill import Answer, Example, assistant, user
from codling.skills.story_answers import StoryAnswers

TRAIN = ["A girl named Lily sang. She slept. She ran."]
HELDOUT = ["A boy named Tim sang. He slept. He ran."]


def story(example: Example) -> str:
    first: str = example.messages[0]["content"]
    return first.split("\n")[0]


def test_examples_repeat_with_the_seed_and_are_right_by_themselves() -> None:
    skill = StoryAnswers(TRAIN, HELDOUT)
    for split in ("train", "heldout"):
        examples = skill.examples(split, 200, 3)
        assert examples == skill.examples(split, 200, 3)
        assert examples != skill.examples(split, 200, 4)
        assert all(skill.score(e.target, e) == (True, 1.0) for e in examples)


def test_real_stories_have_their_share_and_their_split() -> None:
    skill = StoryAnswers(TRAIN * 2, [*HELDOUT], real_share=0.5)
    real = [e for e in skill.examples("train", 400, 0) if e.category == "real"]
    assert 160 < len(real) < 240
    assert all("named Lily" in story(e) for e in real)
    assert all("named Tim" in e.request for e in skill.examples("heldout", 99, 0) if e.category == "real")
    made_up = Counter(e.category for e in StoryAnswers().examples("train", 400, 0))
    assert made_up == {"who": 100, "where": 100, "what": 100, "yes_no": 100}


def test_a_held_out_opening_is_no_training_story() -> None:
    skill = StoryAnswers([*TRAIN, HELDOUT[0] + " The end."], HELDOUT, real_share=1.0)
    assert not [e for e in skill.examples("train", 100, 0) if "named Tim" in story(e)]


@pytest.mark.parametrize("new_words", [True, False])
def test_no_held_out_story_is_a_training_story(new_words: bool) -> None:
    stories = load_documents("stories", "train"), load_documents("stories", "heldout")
    skill = StoryAnswers(*stories, new_words=new_words)
    train, heldout = ({story(e) for e in skill.examples(split, 1000, 0)} for split in ("train", "heldout"))
    assert len(train) > 800
    assert not train & heldout


def test_training_asks_several_questions_of_a_story_and_a_judge_one() -> None:
    skill = StoryAnswers(TRAIN, HELDOUT)
    for example in skill.examples("train", 50, 0):
        requests = [message["content"] for message in example.messages if message["role"] == "user"]
        assert len(set(requests)) == len(requests) == 4
        assert all(request.startswith("Question: ") for request in requests[1:])
    assert all(len(example.messages) == 2 for example in skill.examples("heldout", 50, 0))


def test_words_count_and_case_does_not() -> None:
    example = Example((user("Story: x\nQuestion: Where?"), assistant("in the park")), (), "", "where")
    skill = StoryAnswers()
    assert skill.score(Answer("In the park."), example) == (True, 1.0)
    # Two of three words said, two of two right: F1 = 2 * 2 / (3 + 2).
    assert skill.score(Answer("the park"), example) == pytest.approx((False, 0.8))
    assert skill.score(Answer("the the the"), example).partial == pytest.approx(2 / 6)
    assert skill.score(Answer("in the park", ({"name": "f", "arguments": {}},)), example) == (False, 0.0)


def test_baselines_guess_by_form_alone() -> None:
    skill = StoryAnswers()
    guess = skill.guessers(skill.examples("train", 50, 0))
    story = "Story: Once upon a time Ana slept by the lake. Ben sang in the old barn.\nQuestion: Where?"
    example = Example((user(story), assistant("")), (), "", "")
    assert guess["first name"](example) == Answer("Ana")
    assert guess["last place"](example) == Answer("in the old barn")
    assert guess["by question word"](example) == guess["last place"](example)
    baselines = skill.baselines(skill.examples("train", 400, 0), skill.examples("heldout", 400, 0))
    assert all(value < 0.5 for value in baselines.values())
    assert baselines["by question word"] > 0.25


def test_bad_input() -> None:
    with pytest.raises(UserError, match="real_share is 2"):
        StoryAnswers(real_share=2.0)
    with pytest.raises(UserError, match="only one split's stories"):
        StoryAnswers(TRAIN, ["Nobody is named."])
