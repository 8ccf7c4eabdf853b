"""Skill (f): a short text about something, in the form that was asked for.

    write one sentence about a dog. use the word red.  ->  The red dog ran to the park.

Every example carries its constraints (`skills.constraints`) as a check, and any text that meets them is right; the
target is one of many. Categories are the kinds of form: `word`, `letters`, `sentences`, `words`, `end`, `list`. The
thing that is written about is a constraint too.

Held out: requests as a whole, by a hash.
"""

import random
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from codling.config import to_dict
from codling.skills.constraints import (
    Constraint,
    EndsWith,
    HasWord,
    Letters,
    NumItems,
    NumSentences,
    NumWords,
    read_constraints,
)
from codling.skills.grammar import article, choose
from codling.skills.guessers import most_frequent, nearest_request
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

THINGS = ("dog", "cat", "bird", "boy", "girl", "fish", "bear", "frog", "horse", "mouse", "duck", "fox", "cow", "rabbit")
WORDS = (
    "red",
    "big",
    "old",
    "happy",
    "little",
    "blue",
    "sad",
    "fast",
    "soft",
    "brave",
    "funny",
    "kind",
    "hungry",
    "tall",
)
DEEDS = (
    "ran to the park",
    "sat under a tree",
    "found a ball",
    "went to sleep",
    "looked at the moon",
    "played in the sun",
    "ate some bread",
    "swam in the lake",
    "made a friend",
    "jumped over a box",
    "saw a boat",
    "hid in the grass",
    "ran away",
    "went home",
    "fell down",
    "sat down",
)
GROUPS = {
    "animals": ("dog", "cat", "bird", "fish", "bear", "frog", "horse", "duck"),
    "colors": ("red", "blue", "green", "pink", "black", "white", "gray", "brown"),
    "foods": ("bread", "cake", "soup", "rice", "milk", "cheese", "honey", "corn"),
    "toys": ("ball", "doll", "kite", "drum", "car", "train", "top", "boat"),
}
NUMBERS = {2: "two", 3: "three", 4: "four"}
CATEGORIES = ("word", "letters", "sentences", "words", "end", "list")


class _Request(NamedTuple):
    asked: str
    text: str
    constraints: tuple[Constraint, ...]


class Formats(Skill):
    """One or two constraints on a text about one thing."""

    name = "formats"

    def examples(self, split: Split, count: int, seed: int) -> list[Example]:
        """Draw each example's category, then what is written about and how."""
        check_count(self.name, count)
        rng = random_for(self.name, split, seed)
        categories = rng.choices(CATEGORIES, k=count)
        return [
            draw_of_split(split, partial(_example, category, rng), lambda example: example.request)
            for category in categories
        ]

    def score(self, answer: Answer, example: Example) -> Score:
        """Exact: every constraint is met. Partial: the share of them that is."""
        if answer.tool_calls or not answer.text.strip():
            return Score(exact=False, partial=0.0)
        met = [constraint.is_met(answer.text) for constraint in constraints_of(example)]
        return Score(exact=all(met), partial=sum(met) / len(met))

    def guessers(self, train: Sequence[Example]) -> dict[str, Guesser]:
        """The most frequent text, and that of the most similar training request."""
        return {"most frequent text": most_frequent(train), "nearest request": nearest_request(train)}


def constraints_of(example: Example) -> tuple[Constraint, ...]:
    """What an example of this skill asks for."""
    assert example.check is not None
    return read_constraints(example.check["constraints"], source=f"{example.skill}: {example.request}")


def _example(category: str, rng: random.Random) -> Example:
    request = _MAKERS[category](rng)
    asked = request.asked[:1].upper() + request.asked[1:] if rng.random() < 0.5 else request.asked
    check: dict[str, Any] = {"kind": "format", "constraints": [to_dict(one) for one in request.constraints]}
    return Example((user(asked), assistant(request.text)), (), Formats.name, category, check)


def _sentence(thing: str, rng: random.Random, word: str = "") -> str:
    return f"The {word + ' ' if word else ''}{thing} {rng.choice(DEEDS)}."


def _about(thing: str, rng: random.Random) -> str:
    return choose("[write|tell me something|say something]", rng) + f" about {article(thing)}{thing}"


def _word(rng: random.Random) -> _Request:
    thing, word = rng.choice(THINGS), rng.choice(WORDS)
    asked = f"{_about(thing, rng)}. use the word {word}."
    return _Request(asked, _sentence(thing, rng, word), (HasWord(word=thing), HasWord(word=word)))


def _letters(rng: random.Random) -> _Request:
    thing, is_small = rng.choice(THINGS), rng.random() < 0.5
    text = _sentence(thing, rng, rng.choice(("", *WORDS)))
    asked = f"{_about(thing, rng)}. use only {'small' if is_small else 'capital'} letters."
    case = Letters(case="small" if is_small else "capital")
    return _Request(asked, text.lower() if is_small else text.upper(), (HasWord(word=thing), case))


def _sentences(rng: random.Random) -> _Request:
    thing, count = rng.choice(THINGS), rng.choice((2, 3))
    asked = f"{_about(thing, rng)} in {NUMBERS[count]} sentences."
    first, *others = rng.sample(DEEDS, count)
    text = " ".join([f"The {thing} {first}.", *(f"It {deed}." for deed in others)])
    return _Request(asked, text, (HasWord(word=thing), NumSentences(least=count, most=count)))


def _words(rng: random.Random) -> _Request:
    thing, most = rng.choice(THINGS), rng.choice((4, 5, 6))
    deed = rng.choice([deed for deed in DEEDS if len(deed.split()) <= most - 2])
    asked = f"{_about(thing, rng)} in at most {most} words."
    return _Request(asked, f"The {thing} {deed}.", (HasWord(word=thing), NumWords(least=1, most=most)))


def _end(rng: random.Random) -> _Request:
    thing, is_question = rng.choice(THINGS), rng.random() < 0.5
    if is_question:
        asked, text = f"ask a question about {article(thing)}{thing}.", f"Where is the {thing}?"
        text = rng.choice((text, f"Do you see the {thing}?", f"Is the {thing} {rng.choice(WORDS)}?"))
    else:
        asked = f"{_about(thing, rng)}. end with an exclamation mark."
        text = _sentence(thing, rng, rng.choice(("", *WORDS))).removesuffix(".") + "!"
    return _Request(asked, text, (HasWord(word=thing), EndsWith(end="?" if is_question else "!")))


def _list(rng: random.Random) -> _Request:
    group, count = rng.choice(list(GROUPS)), rng.choice((2, 3, 4))
    asked = choose(f"[list|name|write a list of] {NUMBERS[count]} {group}.", rng)
    items = rng.sample(GROUPS[group], count)
    return _Request(asked, "\n".join(f"- {item}" for item in items), (NumItems(num_items=count),))


_MAKERS = {
    "word": _word,
    "letters": _letters,
    "sentences": _sentences,
    "words": _words,
    "end": _end,
    "list": _list,
}
