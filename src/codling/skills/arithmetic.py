"""Skill (e): sums and differences of small numbers, with worked steps that end in the answer.

    what is 47 + 38?  ->  7 + 8 = 15. 4 + 3 + 1 = 8. The answer is 85.

The steps go digit by digit from the right, as on paper: each of them is one of a few hundred facts, which a small model
learns, as it never learns the sum of two long numbers at a glance. Digits are tokens of their own (`tokenizer.train`).
Categories: `sum`, `difference` and `story` (either, in words). An answer is right if its last number is.

Held out: pairs of numbers, by a hash of the request as a whole.
"""

import random
from collections.abc import Sequence
from functools import partial

from codling.skills.grammar import as_typed, say
from codling.skills.guessers import most_frequent, nearest_request
from codling.skills.numbers import last_number
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
    similarity,
    user,
)

CATEGORY_SHARES = {"sum": 0.4, "difference": 0.3, "story": 0.3}
"""Ours."""
SMALLEST, LARGEST = 2, 99
SUM_PATTERNS = ("[what is|how much is|] {first} + {second}[?|]", "[add|] {first} [and|plus] {second}")
DIFFERENCE_PATTERNS = ("[what is|how much is|] {first} - {second}[?|]", "[take|] {second} from {first}")
STORY_SUMS = (
    "{name} has {first} {things} and [gets|finds|buys] {second} more. how many {things} does {name} have?",
    "there are {first} {things} in a box and {second} in a bag. how many are there in all?",
)
STORY_DIFFERENCES = (
    "{name} has {first} {things} and [loses|sells|gives away] {second}. how many are left?",
    "there were {first} {things} in a box. {name} took {second}. how many are left?",
)
NAMES = ("Tom", "Lily", "Ben", "Mia", "Sam", "Anna")
THINGS = ("apples", "books", "coins", "eggs", "cards", "shells", "nuts", "stamps")


class Arithmetic(Skill):
    """Two numbers of one or two digits, added or subtracted."""

    name = "arithmetic"

    def examples(self, split: Split, count: int, seed: int) -> list[Example]:
        """Draw each example's category, then numbers and words."""
        check_count(self.name, count)
        rng = random_for(self.name, split, seed)
        categories = rng.choices(list(CATEGORY_SHARES), list(CATEGORY_SHARES.values()), k=count)
        return [
            draw_of_split(split, partial(_draw, category, rng), lambda example: example.request.casefold())
            for category in categories
        ]

    def score(self, answer: Answer, example: Example) -> Score:
        """Exact: the last number is the right one."""
        due = last_number(example.target.text)
        is_right = not answer.tool_calls and due is not None and last_number(answer.text) == due
        return Score(exact=is_right, partial=1.0 if is_right else similarity(answer.text, example.target.text) / 2)

    def guessers(self, train: Sequence[Example]) -> dict[str, Guesser]:
        """The most frequent solution, and the solution of the most similar training request."""
        return {"most frequent answer": most_frequent(train), "nearest request": nearest_request(train)}


def _draw(category: str, rng: random.Random) -> Example:
    first, second = rng.randint(SMALLEST, LARGEST), rng.randint(SMALLEST, LARGEST)
    is_sum = category == "sum" or (category == "story" and rng.random() < 0.5)
    if not is_sum:
        first, second = max(first, second), min(first, second)
    patterns = {
        ("sum", True): SUM_PATTERNS,
        ("difference", False): DIFFERENCE_PATTERNS,
        ("story", True): STORY_SUMS,
        ("story", False): STORY_DIFFERENCES,
    }[category, is_sum]
    words = {"name": rng.choice(NAMES), "things": rng.choice(THINGS), "first": str(first), "second": str(second)}
    asked = as_typed(say(rng.choice(patterns), words, rng), rng).text.strip()
    steps = worked_sum(first, second) if is_sum else worked_difference(first, second)
    return Example((user(asked), assistant(steps)), (), Arithmetic.name, category)


def worked_sum(first: int, second: int) -> str:
    """Add from the right, a step a digit, with what is carried."""
    steps, carried, places = [], 0, max(len(str(first)), len(str(second)))
    for place in range(places):
        digits = [number // 10**place % 10 for number in (first, second)]
        parts = [*digits, *([carried] if carried else [])]
        steps.append(f"{' + '.join(map(str, parts))} = {sum(parts)}.")
        carried = sum(parts) // 10
    return f"{' '.join(steps)} The answer is {first + second}."


def worked_difference(first: int, second: int) -> str:
    """Subtract from the right, a step a digit, with what is borrowed; `first` is not the smaller."""
    steps, borrowed = [], 0
    for place in range(len(str(first))):
        above, below = first // 10**place % 10, second // 10**place % 10
        lent = 10 if above < below + borrowed else 0
        parts = [above + lent, below, *([borrowed] if borrowed else [])]
        steps.append(f"{' - '.join(map(str, parts))} = {above + lent - below - borrowed}.")
        borrowed = lent // 10
    return f"{' '.join(steps)} The answer is {first - second}."
