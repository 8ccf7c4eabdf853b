"""A small language for sentences that vary: alternatives in brackets, slots in braces.

`"[please |]remind me to {task}[.|]"` has four forms. Slots are filled with values whose place in the
finished text is kept, so that an argument can be copied from the text exactly as it was said, whatever
was done to its letters.
"""

import itertools
import random
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from codling.errors import UserError
from codling.skills.skill import Split

HELDOUT_EVERY = 5
"""One value in so many is kept out of training."""


class Utterance(NamedTuple):
    """A finished sentence, and where each slot's value stands in it: (first character, one past the last)."""

    text: str
    spans: dict[str, tuple[int, int]]

    def said(self, slot: str) -> str:
        """Give a slot's value as it was said; empty where the sentence has no such slot."""
        start, end = self.spans.get(slot, (0, 0))
        return self.text[start:end]


def share(values: Sequence[str], split: Split) -> list[str]:
    """Give the values that a split may use: every fifth is for held-out examples only."""
    heldout = split == "heldout"
    return [value for i, value in enumerate(values) if (i % HELDOUT_EVERY == HELDOUT_EVERY - 1) == heldout]


def expansions(pattern: str) -> list[str]:
    """List every form of a pattern, its slots still open."""
    choices = [part.split("|") for part in re.split(r"\[([^\[\]]*)\]", pattern)]
    for fixed in choices[::2]:
        if len(fixed) > 1 or "[" in fixed[0] or "]" in fixed[0]:
            raise UserError(f"pattern '{pattern}': brackets must come in pairs, unnested, and hold every '|'")
    return ["".join(parts) for parts in itertools.product(*choices)]


def choose(pattern: str, rng: random.Random) -> str:
    """Draw one form of a pattern, its slots still open."""
    return re.sub(r"\[([^\[\]]*)\]", lambda match: rng.choice(match[1].split("|")), pattern)


def fill(template: str, values: Mapping[str, str]) -> Utterance:
    """Fill the slots of a template that has no alternatives left.

    Errors: `UserError` for a slot without a value.
    """
    text = ""
    spans: dict[str, tuple[int, int]] = {}
    for fixed, slot in re.findall(r"([^{}]*)(?:\{(\w+)\})?", template):
        text += fixed
        if slot:
            if slot not in values:
                raise UserError(f"pattern '{template}': nothing fills the slot '{slot}'")
            spans[slot] = (len(text), len(text) + len(values[slot]))
            text += values[slot]
    return Utterance(text, spans)


def say(pattern: str, values: Mapping[str, str], rng: random.Random) -> Utterance:
    """Draw one form of a pattern and fill it."""
    return fill(choose(pattern, rng), values)


def as_typed(said: Utterance, rng: random.Random) -> Utterance:
    """Write a sentence as people type: in lower case, or with a capital, now and then all in capitals.

    No letter moves, so every span stays true and an argument copied from it is what the user typed.
    """
    draw = rng.random()
    if draw < 0.5:
        return said._replace(text=said.text.lower())
    if draw < 0.53:
        return said._replace(text=said.text.upper())
    return said._replace(text=said.text[:1].upper() + said.text[1:])


def article(noun: str) -> str:
    """Give "a " or "an "; by spelling, which serves every noun of the lexicon."""
    return "an " if noun[0] in "aeiouAEIO" else "a "
