"""Questions about real stories, taken from their first sentences by patterns too strict to be wrong
often.

A story qualifies when its opening names exactly one character ("a little girl named Lily"), and a pattern
must match once and only once. Whatever is less sure is left alone: a wrong question would teach to guess.
"""

import re
from typing import NamedTuple

from codling.skills.story_grammar import Question

MAX_OPENING_CHARACTERS = 260
"""Longer openings cost too much of a short context; ours."""
NUM_SENTENCES = 3
KINDS = ("girl", "boy", "dog", "cat", "bird", "bunny", "fish", "bear", "rabbit", "frog", "duck", "mouse")
NAMED = re.compile(r"\b([a-z]+) (?:named|called) ([A-Z][a-z]+)\b")


class RealQuestions(NamedTuple):
    """The first sentences of a story, and what can be asked about them."""

    opening: str
    questions: tuple[Question, ...]


def questions_about(story: str) -> RealQuestions | None:
    """Find the questions that a story's opening answers for certain; `None` where there is none."""
    opening = " ".join(re.split(r"(?<=[.!?])\s+", " ".join(story.split()))[:NUM_SENTENCES])
    named = NAMED.findall(opening)
    # Speech is left out: three sentences may end within it.
    if len(opening) > MAX_OPENING_CHARACTERS or re.search('["“”]', opening):
        return None
    if len(named) != 1 or named[0][0] not in KINDS:
        return None
    kind, name = named[0]
    questions = [*_about_the_name(kind, name), *_about_places(opening, name)]
    # Whoever is named later may not be the one that it is about.
    if NAMED.search(re.split(r"(?<=[.!?])\s", opening)[0]):
        questions.append(Question("Who is the story about?", name))
    return RealQuestions(opening, tuple(questions))


def _about_the_name(kind: str, name: str) -> list[Question]:
    """What it is called, and as many questions to be answered with yes as with no."""
    another_kind = {"girl": "boy", "boy": "girl", "dog": "cat", "cat": "dog"}.get(kind, "dog")
    another_name = next(other for other in ("Lily", "Tim") if other != name)
    return [
        Question(f"What is the {kind} called?", name),
        Question(f"Is {name} a {kind}?", "yes"),
        Question(f"Is {name} a {another_kind}?", "no"),
        Question(f"Is the {kind} called {name}?", "yes"),
        Question(f"Is the {kind} called {another_name}?", "no"),
    ]


def _about_places(opening: str, name: str) -> list[Question]:
    """Where the named one lived or went, if that is told once, and after the name."""
    told = opening[opening.index(name) :]
    subject = rf"(?:{name}|{name} who|He|She|It)"
    lived = re.findall(rf"{subject} lived ((?:in|on|near|by|at) (?:a|an|the) [a-z ]+?)(?: with [^.,]*)?[.,]", told)
    went = re.findall(rf"{subject} went (to the [a-z]+)(?: with [^.,]*| to [a-z]+[^.,]*)?[.,]", told)
    questions = []
    if len(lived) == 1 and opening.count(" lived ") == 1 and " and " not in lived[0]:
        questions.append(Question(f"Where did {name} live?", lived[0]))
    if len(went) == 1 and opening.count(" went ") == 1:
        questions.append(Question(f"Where did {name} go?", went[0]))
    return questions
