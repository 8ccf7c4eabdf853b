import pytest

from codling.data.sources import load_documents
from codling.skills.story_questions import MAX_OPENING_CHARACTERS, questions_about

LILY = "There was a little girl named Lily. She lived in a small house with her mom. She sang. Bye."


def answers(story: str) -> dict[str, str]:
    found = questions_about(story)
    return dict(found.questions) if found else {}


def test_a_story_is_asked_about_its_opening() -> None:
    found = questions_about(LILY)
    assert found is not None
    assert found.opening == LILY.removesuffix(" Bye.")
    assert answers(LILY) == {
        "What is the girl called?": "Lily",
        "Is Lily a girl?": "yes",
        "Is Lily a boy?": "no",
        "Is the girl called Lily?": "yes",
        "Is the girl called Tim?": "no",
        "Where did Lily live?": "in a small house",
        "Who is the story about?": "Lily",
    }


def test_where_somebody_went() -> None:
    story = "One day, a boy named Tim went to the park with his mom. He saw a dog. The dog ran."
    assert answers(story)["Where did Tim go?"] == "to the park"


@pytest.mark.parametrize(
    "story",
    [
        "A girl named Lily met a boy named Tim. They sang. They slept.",
        "A planet named Mars was red. It was far. It was cold.",
        'A girl named Lily said, "Hi! I am here." She sang.',
        "A boy sang. He slept. He ran.",
        f"A girl named Lily was {'very ' * MAX_OPENING_CHARACTERS}happy. She sang. She slept.",
        "",
    ],
)
def test_unsure_openings_are_left_alone(story: str) -> None:
    assert questions_about(story) is None


@pytest.mark.parametrize(
    "story",
    [
        "There was a hunter. He lived in a small house. He had a dog named Spot.",
        "A robot was new. It lived in a big house with a boy named Tim. It sang.",
        "A dog named Spot lived in the woods and loved to run. He ran. He slept.",
        "A dog named Spot lived in a hut. He lived in a house. He slept.",
    ],
)
def test_a_place_is_asked_for_only_if_it_is_certain(story: str) -> None:
    assert not [question for question in answers(story) if question.startswith("Where")]


def test_whoever_is_named_late_is_not_who_it_is_about() -> None:
    late = answers("There was a hunter. He lived in a small house. He had a dog named Spot.")
    assert late
    assert "Who is the story about?" not in late


def test_real_stories_hold_their_answers() -> None:
    found = [real for story in load_documents("stories", "heldout") if (real := questions_about(story))]
    assert len(found) > 20
    for real in found:
        assert len(real.opening) <= MAX_OPENING_CHARACTERS
        yes_or_no = [q.answer for q in real.questions if q.answer in ("yes", "no")]
        assert yes_or_no.count("yes") == yes_or_no.count("no")
        assert all(q.answer in real.opening for q in real.questions if q.answer not in ("yes", "no"))
