"""Skill (c): a short answer from a short story: who, where, what, yes or no.

Most stories are made up (`story_grammar`); with stories from the caller, `real_share` of the examples ask
about the openings of real ones (`story_questions`), category `real`. Half of the yes-or-no answers are
yes. A training conversation asks several questions about its story: an answer is a word or two, and one alone teaches
little for what its story costs to read. A held-out one asks a single question.

Held out: names, things, places and animals of made-up stories, by word; real stories by document, as the
caller splits them. A name that is held out here may occur in a real training story: those are what they
are.
"""

import random
import re
from collections.abc import Iterable, Sequence

from codling.errors import UserError
from codling.skills import story_grammar
from codling.skills.guessers import most_frequent, words
from codling.skills.skill import (
    Answer,
    Example,
    Guesser,
    Message,
    Score,
    Skill,
    Split,
    assistant,
    check_count,
    draw_of_split,
    plain,
    random_for,
    user,
)
from codling.skills.story_grammar import Question, Story
from codling.skills.story_questions import RealQuestions, questions_about

REAL = "real"
NUM_CATEGORIES = len(story_grammar.CATEGORIES)
MAX_TRAIN_QUESTIONS = NUM_CATEGORIES
NAME = re.compile(r"\b(?!(?:Story|Once|One|Long|The|There|They|It|He|She|A|In|On|Question)\b)[A-Z][a-z]+")
PLACE = re.compile(r"\b(?:(?:in|at|on|by|under|behind|near|to) (?:the|an?)(?: [a-z]+){1,2}?(?=[.,]| with)|at school)\b")


class StoryAnswers(Skill):
    """Questions about made-up stories and, where the caller gives some, about real ones."""

    name = "story_answers"

    def __init__(
        self,
        train_stories: Iterable[str] = (),
        heldout_stories: Iterable[str] = (),
        *,
        real_share: float = 0.25,
        new_words: bool = True,
    ):
        """With `new_words` a held-out story has names and things that no training story has; without, only the story
        as a whole is new.
        """
        if not 0 <= real_share <= 1:
            raise UserError(f"skill story_answers: real_share is {real_share}; it must lie between 0 and 1")
        heldout, train = _askable(heldout_stories), _askable(train_stories)
        known = {real.opening for real in heldout}
        self._real: dict[Split, list[RealQuestions]] = {
            "train": [real for real in train if real.opening not in known],
            "heldout": heldout,
        }
        if bool(self._real["train"]) != bool(heldout):
            raise UserError("skill story_answers: only one split's stories have an askable opening; give more of both")
        self._real_share = real_share if heldout else 0.0
        self._new_words = new_words

    def examples(self, split: Split, count: int, seed: int) -> list[Example]:
        """Mix made-up and real stories; the made-up ones go round the kinds of question."""
        check_count(self.name, count)
        rng = random_for(self.name, split, seed)
        max_questions = MAX_TRAIN_QUESTIONS if split == "train" else 1
        examples = []
        for number in range(count):
            if rng.random() < self._real_share:
                real, category = rng.choice(self._real[split]), REAL
                text, questions = real.opening, rng.sample(real.questions, min(max_questions, len(real.questions)))
            else:
                story, category = self._make_up(split, rng), story_grammar.CATEGORIES[number % NUM_CATEGORIES]
                # The last question is the one that the example is about.
                others = rng.sample(
                    [other for other in story_grammar.CATEGORIES if other != category], max_questions - 1
                )
                text, questions = story.text, [story_grammar.ask(story, kind, rng) for kind in (*others, category)]
            examples.append(Example(_messages(text, questions), (), self.name, category))
        return examples

    def _make_up(self, split: Split, rng: random.Random) -> Story:
        if self._new_words:
            return story_grammar.tell(split, rng)
        return draw_of_split(split, lambda: story_grammar.tell("train", rng), lambda story: story.text)

    def score(self, answer: Answer, example: Example) -> Score:
        """Exact: the same words, whatever their case. Partial: the F1 of the words."""
        if answer.tool_calls:
            return Score(exact=False, partial=0.0)
        said, due = words(answer.text), words(example.target.text)
        num_shared = sum(min(said.count(word), due.count(word)) for word in set(due))
        f1 = 2 * num_shared / max(1, len(said) + len(due))
        return Score(exact=plain(answer.text) == plain(example.target.text), partial=f1)

    def guessers(self, train: Sequence[Example]) -> dict[str, Guesser]:
        """The majority's answer, the first name, the last place; and the best of them for each kind of
        question.
        """
        majority = most_frequent(train)
        return {
            "majority answer": majority,
            "first name": _first_name,
            "last place": _last_place,
            "by question word": lambda example: _by_question_word(example, majority),
        }


def _messages(story: str, questions: Sequence[Question]) -> tuple[Message, ...]:
    """The story with the first question, and the other questions one after the other."""
    messages: list[Message] = []
    for question in questions:
        opening = "" if messages else f"Story: {story}\n"
        messages += [user(f"{opening}Question: {question.text}"), assistant(question.answer)]
    return tuple(messages)


def _askable(stories: Iterable[str]) -> list[RealQuestions]:
    found = (questions_about(story) for story in stories)
    return [real for real in found if real is not None]


def _first_name(example: Example) -> Answer:
    found = NAME.search(example.request)
    return Answer(found[0] if found else "")


def _last_place(example: Example) -> Answer:
    found = PLACE.findall(example.request)
    return Answer(found[-1] if found else "")


def _by_question_word(example: Example, majority: Guesser) -> Answer:
    """A name for "who" (and for "what is ... called"), a place for "where", else the majority's yes or no."""
    question = example.request.rsplit("Question: ", 1)[1]
    if question.startswith(("Who", "What is")):
        return _first_name(example)
    return _last_place(example) if question.startswith("Where") else majority(example)
