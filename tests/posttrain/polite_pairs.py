"""Preference pairs with something simple in common, that a small model learns in seconds."""

import numpy as np

from codling.posttrain.gradings import Gradings, Truthfulness
from codling.posttrain.levels import Level
from codling.posttrain.preferences import PreferencePair
from codling.posttrain.prompts import Prompt
from codling.tokenizer.messages import Message

WORDS = ("cat", "dog", "tree", "house", "book", "river", "stone", "garden")
GRADES = (Gradings(truthfulness=Truthfulness.UNTRUTHFUL), Gradings(truthfulness=Truthfulness.TRUTHFUL))


def draw_pairs(count: int, seed: int) -> list[PreferencePair]:
    """Polite answers are better, whatever they are about; the level is said, and grades follow."""
    random = np.random.default_rng(seed)
    pairs = []
    for number in range(count):
        word, other = random.choice(WORDS, 2, replace=False)
        answers = [f"No {other}.", f"Yes please, {word}."]
        better = int(random.integers(2))
        ordered = answers if better == 1 else answers[::-1]
        pairs.append(
            PreferencePair(
                prompt=Prompt(messages=(Message(role="user", content=f"{word}?"),)),
                answers=(
                    Message(role="assistant", content=ordered[0]),
                    Message(role="assistant", content=ordered[1]),
                ),
                better=better,
                level=list(Level)[number % 4],
                gradings=GRADES if better == 1 else GRADES[::-1],
                source="test",
                license="CC0-1.0",
            )
        )
    return pairs
