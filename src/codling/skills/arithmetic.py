"""Skill (e): sums, differences and word problems of two steps, worked column by column.

The target repeats the task in figures, works from the ones upwards, and ends in the number:

    What is 67 + 58?    67+58: 7+8=15, 6+5+1=12, so 125

Why this form: each step needs one figure of each number and the carry of the step just written, a table of two hundred
entries; the number's own figures are then the last figures of the steps. Written at once, the first figure would need
every carry before any is known, which models of this size do not learn. A digit is one piece of our tokenizers.

Held out: one in ten of the tasks by their numbers, in whatever words they are put.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

from codling.skills import lexicon
from codling.skills.grammar import say
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

CATEGORIES = ("sum", "difference", "two_steps")
MAX_TERM = 99
SHORT_SHARE = 0.25
"""Share of the terms that have one figure; ours: drawn evenly, nearly all would have two."""
ASKED = (
    "What is {left} {sign} {right}?",
    "[Work out|Find|Calculate] {left} {sign} {right}.",
    "{left} {sign} {right} = ?",
    "[How much|What] is {left} {word} {right}?",
)
WORDS = {"+": "plus", "-": "minus"}
THINGS = lexicon.listed("""
    apples, books, stones, shells, cards, coins, pens, balls, cookies, stamps, marbles, buttons, eggs, flowers, toys,
    cups, stickers, nuts, beads, keys
""")
CHANGES = {
    "+": "[{who} finds|{who} gets|{who} buys|{friend} gives {whom}] {number} more.",
    "-": "{who} [loses {number}|gives {number} to {friend}|sells {number}|gives away {number}].",
}


class Step(NamedTuple):
    """One sum or difference; a difference is never below zero."""

    left: int
    sign: str
    right: int

    @property
    def result(self) -> int:
        """What it gives."""
        return self.left + self.right if self.sign == "+" else self.left - self.right


class Task(NamedTuple):
    """A request and the steps that answer it; each begins with what the one before it gave."""

    request: str
    steps: tuple[Step, ...]


class Arithmetic(Skill):
    """Sums and differences of numbers below a hundred, and stories that need two of them."""

    name = "arithmetic"

    def examples(self, split: Split, count: int, seed: int) -> list[Example]:
        """Go round the categories, and draw a task of each."""
        check_count(self.name, count)
        rng = random_for(self.name, split, seed)
        return [self._example(CATEGORIES[number % len(CATEGORIES)], split, rng) for number in range(count)]

    def _example(self, category: str, split: Split, rng: random.Random) -> Example:
        task = draw_of_split(split, lambda: _draw(category, rng), lambda drawn: drawn.steps)
        target = "; ".join(worked(step) for step in task.steps)
        return Example((user(task.request), assistant(target)), (), self.name, category)

    def score(self, answer: Answer, example: Example) -> Score:
        """Exact: the last number is the right one. Partial: the likeness of the work."""
        if answer.tool_calls:
            return Score(exact=False, partial=0.0)
        exact = last_number(answer.text) == last_number(example.target.text)
        return Score(exact=exact, partial=1.0 if exact else similarity(answer.text.strip(), example.target.text))

    def guessers(self, train: Sequence[Example]) -> dict[str, Guesser]:
        """The majority's answer, that to the most similar training request, and the request's own last number."""
        return {
            "majority answer": most_frequent(train),
            "nearest request": nearest_request(train),
            "last number": lambda example: Answer(str(last_number(example.request))),
        }


def worked(step: Step) -> str:
    """Write a step column by column, from the ones upwards, with what is carried or borrowed as "+1" or "-1"."""
    columns, carried = [], False
    for left, right in zip(*_figures(step.left, step.right), strict=True):
        change = right + carried
        # A figure that is too small borrows ten from the next.
        top = left + 10 if step.sign == "-" and left < change else left
        total = top + change if step.sign == "+" else top - change
        columns.append(f"{top}{step.sign}{right}{step.sign + '1' if carried else ''}={total}")
        carried = total > 9 or top > 9
    return f"{step.left}{step.sign}{step.right}: {', '.join(columns)}, so {step.result}"


def _figures(left: int, right: int) -> tuple[list[int], list[int]]:
    """The figures of both numbers, ones first, the shorter one filled up with zeros."""
    width = max(len(str(left)), len(str(right)))
    first, second = ([int(figure) for figure in reversed(str(number).zfill(width))] for number in (left, right))
    return first, second


def _draw(category: str, rng: random.Random) -> Task:
    if category == "two_steps":
        return _story(rng)
    left, right = _term(rng), _term(rng)
    step = Step(left, "+", right) if category == "sum" else Step(max(left, right), "-", min(left, right))
    values = {"left": str(step.left), "right": str(step.right), "sign": step.sign, "word": WORDS[step.sign]}
    return Task(say(rng.choice(ASKED), values, rng).text, (step,))


def _story(rng: random.Random) -> Task:
    """Somebody has some things, and their number changes twice."""
    names, who, whom = (lexicon.GIRLS, "She", "her") if rng.random() < 0.5 else (lexicon.BOYS, "He", "him")
    name, thing = rng.choice(names), rng.choice(THINGS)
    friend = rng.choice([other for other in lexicon.GIRLS + lexicon.BOYS if other != name])
    first = _change(_term(rng), rng)
    second = _change(first.result, rng)
    changes = [
        say(CHANGES[step.sign], {"who": who, "whom": whom, "friend": friend, "number": str(step.right)}, rng).text
        for step in (first, second)
    ]
    text = f"{name} has {first.left} {thing}. {' '.join(changes)} How many {thing} does {name} have now?"
    return Task(text, (first, second))


def _change(start: int, rng: random.Random) -> Step:
    if start == 0 or rng.random() < 0.5:
        return Step(start, "+", _term(rng))
    taken = _term(rng)
    return Step(start, "-", taken if taken <= start else rng.randint(1, start))


def _term(rng: random.Random) -> int:
    return rng.randint(2, 9) if rng.random() < SHORT_SHARE else rng.randint(10, MAX_TERM)
