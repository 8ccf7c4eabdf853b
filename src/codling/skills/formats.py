"""Skill (f): a short text about a thing, in the form that the request asks for.

    Write one sentence about a dog. Use the word red. Use only small letters.
    the red dog slept by the pond.

Any text that meets the constraints is right; the target is one of many. Beside the constraints that a request names, a
sentence has to have some words, so that the bare keywords are no answer.

Held out: one in ten of the requests. The words are shared by both splits, and so are the constraints.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

from codling.config import to_dict
from codling.errors import UserError
from codling.skills.constraints import (
    Bullets,
    Constraint,
    EndsWith,
    Excludes,
    Includes,
    LetterCase,
    Quoted,
    Sentences,
    StartsWith,
    Words,
    read_constraint,
)
from codling.skills.grammar import article
from codling.skills.guessers import most_frequent, nearest_request
from codling.skills.lexicon import ADJECTIVES, ANIMALS, OBJECTS, SPOTS, listed
from codling.skills.skill import (
    Answer,
    Example,
    Guesser,
    Score,
    Skill,
    Split,
    assistant,
    check_count,
    draw_of_split,
    random_for,
    user,
)

ANIMALS_DID = listed("slept, ran, played, sat, jumped, hid, waited, danced, sang, rested, walked, ate")
THINGS_DID = listed("lay, was, stood, waited, shone, stayed")
OPENINGS = listed("Today, Once, Yesterday, Now, Later, Then, Here, Soon")
MIN_SENTENCE_WORDS = 4
LIST_SHARE, TWO_SENTENCES_SHARE, TWO_CONSTRAINTS_SHARE = 0.2, 0.25, 0.5
"""Shares of the requests for a list and, of the others, for two sentences; of those that add two constraints; ours."""
LIST_LENGTHS = (2, 3, 4)
LENGTHS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine"}


class Draft(NamedTuple):
    """A request in the making: what it says, what a text must meet, and one that does."""

    said: tuple[str, ...]
    constraints: tuple[Constraint, ...]
    text: str

    def asks(self, said: str, *constraints: Constraint, text: str) -> "Draft":
        """Add to the request; `text` takes the place of the text."""
        return Draft((*self.said, said), (*self.constraints, *constraints), text)


class Formats(Skill):
    """Requests for one sentence, two, or a list, with one or two constraints on its form."""

    name = "formats"

    def examples(self, split: Split, count: int, seed: int) -> list[Example]:
        """Draw what is asked for, then what it has to look like."""
        check_count(self.name, count)
        rng = random_for(self.name, split, seed)
        return [self._example(split, rng) for _ in range(count)]

    def _example(self, split: Split, rng: random.Random) -> Example:
        draft = draw_of_split(split, lambda: _draw(rng), lambda drawn: drawn.said)
        kind = "list" if isinstance(draft.constraints[0], Bullets) else "sentence"
        category = f"{kind}_{len(draft.said) - 1}"
        check = {"kind": "format", "constraints": [to_dict(constraint) for constraint in draft.constraints]}
        return Example((user(" ".join(draft.said)), assistant(draft.text)), (), self.name, category, check)

    def score(self, answer: Answer, example: Example) -> Score:
        """Exact: every constraint is met. Partial: the share of them."""
        constraints = constraints_of(example)
        if answer.tool_calls or not answer.text.strip():
            return Score(exact=False, partial=0.0)
        num_met = sum(constraint.met(answer.text) for constraint in constraints)
        return Score(exact=num_met == len(constraints), partial=num_met / len(constraints))

    def guessers(self, train: Sequence[Example]) -> dict[str, Guesser]:
        """The majority's answer, that to the most similar training request, and a sentence around the topic."""
        return {
            "majority answer": most_frequent(train),
            "nearest request": nearest_request(train),
            "plain sentence": _plain_sentence,
        }


def constraints_of(example: Example) -> tuple[Constraint, ...]:
    """Read what an example's answer has to meet. Errors: `UserError` where its check says nothing of that kind."""
    asked = (example.check or {}).get("constraints")
    if not asked:
        raise UserError(f"skill {Formats.name}: the example '{example.request}' has no constraints; build it again")
    return tuple(read_constraint(values) for values in asked)


def _plain_sentence(example: Example) -> Answer:
    """Say something of the last word of the request's first sentence: the topic."""
    topic = example.request.split(".")[0].split()[-1]
    return Answer(f"The {topic} was in the garden.")


def _draw(rng: random.Random) -> Draft:
    return _list(rng) if rng.random() < LIST_SHARE else _sentences(rng)


def _sentences(rng: random.Random) -> Draft:
    """One or two sentences, with constraints on different sides of their form."""
    topic = rng.choice(ANIMALS + OBJECTS)
    count = 2 if rng.random() < TWO_SENTENCES_SHARE else 1
    adjective, banned = rng.sample(ADJECTIVES, 2)
    opening = rng.choice(("", "", *OPENINGS))
    text = _about(topic, adjective, opening, rng)
    if count == 2:
        text += " " + _about(topic, rng.choice([word for word in ADJECTIVES if word != banned]), "", rng)
    draft = Draft(
        (f"Write {'two sentences' if count == 2 else 'one sentence'} about {article(topic)}{topic}.",),
        (
            Sentences(minimum=count, maximum=count),
            Includes(words=(topic,)),
            Words(minimum=MIN_SENTENCE_WORDS * count),
        ),
        text,
    )
    sides = rng.sample(("words", "edge", "case"), 2 if rng.random() < TWO_CONSTRAINTS_SHARE else 1)
    # The case comes last: it changes letters that the others put in.
    for side in sorted(sides, key=("words", "edge", "case").index):
        draft = {"words": _ask_words, "edge": _ask_edge, "case": _ask_case}[side](draft, adjective, banned, rng)
    return draft


def _ask_words(draft: Draft, adjective: str, banned: str, rng: random.Random) -> Draft:
    kind = rng.randrange(3)
    num_words = len(draft.text.split())
    if kind == 0 and num_words in LENGTHS:
        constraint = Words(minimum=num_words, maximum=num_words)
        return draft.asks(f"Use exactly {LENGTHS[num_words]} words.", constraint, text=draft.text)
    if kind == 1:
        return draft.asks(f"Do not use the word {banned}.", Excludes(words=(banned,)), text=draft.text)
    return draft.asks(f"Use the word {adjective}.", Includes(words=(adjective,)), text=draft.text)


def _ask_edge(draft: Draft, adjective: str, banned: str, rng: random.Random) -> Draft:
    kind = rng.randrange(3)
    first = draft.text.split()[0]
    if kind == 0:
        return draft.asks(f"Start with the word {first}.", StartsWith(text=f"{first} "), text=draft.text)
    if kind == 1:
        return draft.asks("End with an exclamation mark.", EndsWith(text="!"), text=draft.text[:-1] + "!")
    return draft.asks("Put it in quotation marks.", Quoted(), text=f'"{draft.text}"')


def _ask_case(draft: Draft, adjective: str, banned: str, rng: random.Random) -> Draft:
    if rng.random() < 0.5:
        return draft.asks("Use only small letters.", LetterCase(case="lower"), text=draft.text.lower())
    return draft.asks("Use only capital letters.", LetterCase(case="upper"), text=draft.text.upper())


def _list(rng: random.Random) -> Draft:
    """A list of some things that has to hold one of them, and perhaps is in one case."""
    count = rng.choice(LIST_LENGTHS)
    things = rng.sample(rng.choice((ANIMALS, OBJECTS)), count)
    topic = rng.choice(things)
    text = "\n".join(f"- {thing}" for thing in things)
    draft = Draft((f"Make a list of {LENGTHS[count]} things.",), (Bullets(count=count),), text)
    draft = draft.asks(f"One is {article(topic)}{topic}.", Includes(words=(topic,)), text=text)
    return _ask_case(draft, "", "", rng) if rng.random() < TWO_CONSTRAINTS_SHARE else draft


def _about(topic: str, adjective: str, opening: str, rng: random.Random) -> str:
    verb, spot = rng.choice(ANIMALS_DID if topic in ANIMALS else THINGS_DID), rng.choice(SPOTS)
    return f"{opening + ' the' if opening else 'The'} {adjective} {topic} {verb} {spot}."
