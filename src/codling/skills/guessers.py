"""Trivial ways to answer that several skills share; a model that does no better has learned nothing.

Multinomial naive Bayes is here although it is not trivial: on the intent of a request it is a strong,
honest rival.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from codling.skills.skill import Answer, Example, Guesser

SMOOTHING = 0.1
"""Added to every word count of naive Bayes. Ours: adding 1, the usual, costs it points on short requests."""


def most_frequent(train: Sequence[Example]) -> Guesser:
    """Answer whatever the training examples answer most often; the earliest among equals."""
    answers: dict[str, Answer] = {}
    counts: Counter[str] = Counter()
    for example in train:
        key = json.dumps(example.target, sort_keys=True)
        answers.setdefault(key, example.target)
        counts[key] += 1
    answer = answers[counts.most_common(1)[0][0]]
    return lambda example: answer


def nearest_request(train: Sequence[Example]) -> Guesser:
    """Answer as the training example does whose last request shares most words, by Jaccard's measure.

    Price: a table of vocabulary times training examples, one byte each.
    """
    asked = [frozenset(words(example.request)) for example in train]
    rows = {word: row for row, word in enumerate(sorted(frozenset().union(*asked)))}
    has_word = np.zeros((len(rows), len(train)), np.uint8)
    for column, known in enumerate(asked):
        has_word[[rows[word] for word in known], column] = 1
    lengths = has_word.sum(axis=0, dtype=np.int64)

    def guess(example: Example) -> Answer:
        wanted = frozenset(words(example.request))
        shared = has_word[[rows[word] for word in wanted if word in rows]].sum(axis=0, dtype=np.int64)
        return train[int(np.argmax(shared / np.maximum(1, lengths + len(wanted) - shared)))].target

    return guess


def naive_bayes(train: Sequence[Example]) -> Guesser:
    """Answer the most probable text given the request's words: multinomial naive Bayes, smoothing
    `SMOOTHING`.
    """
    num_examples: Counter[str] = Counter()
    word_counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for example in train:
        num_examples[example.target.text] += 1
        word_counts[example.target.text].update(words(example.request))
    vocabulary = frozenset(word for counts in word_counts.values() for word in counts)
    totals = {label: counts.total() + SMOOTHING * len(vocabulary) for label, counts in word_counts.items()}

    def log_probability(label: str, asked: Sequence[str]) -> float:
        counts, total = word_counts[label], totals[label]
        return math.log(num_examples[label]) + sum(math.log((counts[word] + SMOOTHING) / total) for word in asked)

    def guess(example: Example) -> Answer:
        # A word never seen in training says nothing about any label.
        asked = [word for word in words(example.request) if word in vocabulary]
        return Answer(max(num_examples, key=lambda label: log_probability(label, asked)))

    return guess


def words(text: str) -> list[str]:
    """Cut a text into lower-case words without the punctuation at their edges."""
    return [word for word in (part.strip(".,!?;:\"'()") for part in text.casefold().split()) if word]
