"""Skill (d): proofreading. A sentence with a mistake in it becomes the sentence without.

The sentences are real, from stories that the caller gives; the mistakes are put in here. Some sentences
have none and must be left alone. A model must copy before it can correct: at 1.25M parameters that takes some
millions of tokens (`bench/proofread.py`), so the skill belongs to the larger recipes; the share of characters
that are right (`partial`) shows when copying begins.

Held out: sentences of held-out stories that no training story has.
"""

import random
import re
from collections.abc import Callable, Iterable, Sequence

from codling.errors import UserError
from codling.skills.lexicon import listed
from codling.skills.skill import (
    Answer,
    Example,
    Guesser,
    Score,
    Skill,
    Split,
    assistant,
    check_count,
    random_for,
    similarity,
    user,
)

INSTRUCTION = "Correct this: "
NO_MISTAKE, TWO_MISTAKES = "no_mistake", "two_mistakes"
NO_MISTAKE_SHARE, TWO_MISTAKES_SHARE = 0.1, 0.2
SENTENCE = re.compile(r"[A-Z][A-Za-z,' ]{18,88}[.!?]")
"""A whole sentence of plain letters: no speech, no numbers; ours."""
HOMOPHONE_PAIRS = listed("""
    their there, to too, were where, then than, know no, hear here, by buy, see sea, one won, sun son, for
    four, its it's, your you're, wood would, right write, new knew
""")
AGREEMENT_PAIRS = listed("was were, is are, has have, does do")


class Proofread(Skill):
    """Mistakes put into the sentences of the caller's stories, to be corrected."""

    name = "proofread"

    def __init__(self, train_stories: Iterable[str], heldout_stories: Iterable[str]):
        train = _sentences(train_stories)
        heldout = _sentences(heldout_stories).keys() - train.keys()
        self._sentences: dict[Split, list[str]] = {"train": list(train), "heldout": sorted(heldout)}
        for split, sentences in self._sentences.items():
            if not sentences:
                raise UserError(f"skill proofread: the {split} stories hold no plain sentence of their own; give more")

    def examples(self, split: Split, count: int, seed: int) -> list[Example]:
        """Draw sentences, and a mistake for each among those that it can have."""
        check_count(self.name, count)
        rng = random_for(self.name, split, seed)
        examples = []
        for _ in range(count):
            sentence = rng.choice(self._sentences[split])
            broken, category = _break(sentence, rng)
            messages = (user(INSTRUCTION + broken), assistant(sentence))
            examples.append(Example(messages, (), self.name, category))
        return examples

    def score(self, answer: Answer, example: Example) -> Score:
        """Exact: the corrected sentence, letter by letter. Partial: the likeness of the characters."""
        if answer.tool_calls:
            return Score(exact=False, partial=0.0)
        said, due = answer.text.strip(), example.target.text
        return Score(exact=said == due, partial=similarity(said, due))

    def guessers(self, train: Sequence[Example]) -> dict[str, Guesser]:
        """Copy the sentence; copy it with a capital and a full stop."""
        return {
            "copy": lambda example: Answer(_given(example)),
            "capital and full stop": lambda example: Answer(_with_capital_and_stop(_given(example))),
        }


def _sentences(stories: Iterable[str]) -> dict[str, None]:
    """The plain sentences of stories, each once, in order."""
    found: dict[str, None] = {}
    for story in stories:
        sentences = re.split(r"(?<=[.!?])\s+", story)
        found.update(dict.fromkeys(sentence for sentence in sentences if SENTENCE.fullmatch(sentence)))
    return found


def _given(example: Example) -> str:
    return example.request.removeprefix(INSTRUCTION)


def _with_capital_and_stop(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _break(sentence: str, rng: random.Random) -> tuple[str, str]:
    """Put no mistake, one, or two of different kinds into a sentence; tell which."""
    draw = rng.random()
    if draw < NO_MISTAKE_SHARE:
        return sentence, NO_MISTAKE
    broken, done = sentence, list[str]()
    for kind in rng.sample(list(MISTAKES), len(MISTAKES)):
        changed = MISTAKES[kind](broken, rng)
        # The second mistake may undo the first.
        if changed not in (broken, sentence):
            broken, done = changed, [*done, kind]
        if len(done) == (2 if draw < NO_MISTAKE_SHARE + TWO_MISTAKES_SHARE else 1):
            break
    return broken, done[0] if len(done) == 1 else TWO_MISTAKES


def _swap(sentence: str, rng: random.Random) -> str:
    places = [m.start() for m in re.finditer(r"(?<=[a-z])([a-z])(?!\1)[a-z](?=[a-z])", sentence)]
    return _at(sentence, places, lambda i: sentence[i + 1] + sentence[i], 2, rng)


def _drop(sentence: str, rng: random.Random) -> str:
    places = [m.start() for m in re.finditer(r"(?<=[a-z])[a-z](?=[a-z]{2})", sentence)]
    return _at(sentence, places, lambda i: "", 1, rng)


def _double(sentence: str, rng: random.Random) -> str:
    places = [m.start() for m in re.finditer(r"(?<=[a-z])([a-z])(?!\1)(?=[a-z])", sentence)]
    return _at(sentence, places, lambda i: sentence[i] * 2, 1, rng)


def _at(sentence: str, places: Sequence[int], change: Callable[[int], str], length: int, rng: random.Random) -> str:
    """Change `length` characters at one of the places; without a place change nothing."""
    if not places:
        return sentence
    place = rng.choice(places)
    return sentence[:place] + change(place) + sentence[place + length :]


def _exchange(pairs: Sequence[str]) -> Callable[[str, random.Random], str]:
    """Make a mistake of taking one word of a pair for the other."""
    words = dict(pair.split() for pair in pairs)
    words |= {right: left for left, right in words.items()}

    def mistake(sentence: str, rng: random.Random) -> str:
        found = [m for m in re.finditer(r"[A-Za-z']+", sentence) if m[0] in words]
        if not found:
            return sentence
        word = rng.choice(found)
        return sentence[: word.start()] + words[word[0]] + sentence[word.end() :]

    return mistake


MISTAKES: dict[str, Callable[[str, random.Random], str]] = {
    "swap": _swap,
    "drop": _drop,
    "double": _double,
    "homophone": _exchange(HOMOPHONE_PAIRS),
    "agreement": _exchange(AGREEMENT_PAIRS),
    "capital": lambda sentence, rng: sentence[:1].lower() + sentence[1:],
    "full_stop": lambda sentence, rng: sentence.removesuffix("."),
}
"""The kinds of mistake; each gives the sentence back unchanged where it does not apply."""
