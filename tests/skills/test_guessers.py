import math
from collections import Counter

from codling.skills.guessers import SMOOTHING, most_frequent, naive_bayes, nearest_request, words
from codling.skills.skill import Answer, Example, assistant, calls, user


def example(request: str, answer: str) -> Example:
    return Example((user(request), assistant(answer)), (), "any", "")


TRAIN = [
    example("wake me at six", "alarm"),
    example("wake me up tomorrow", "alarm"),
    example("will it rain tomorrow", "weather"),
    example("is it going to rain or snow", "weather"),
    example("rain?", "weather"),
]


def test_most_frequent() -> None:
    assert most_frequent(TRAIN)(example("wake", "")) == Answer("weather")
    call = Example((user("x"), calls("f", {"a": "b"})), (), "any", "")
    assert most_frequent([call, *TRAIN[:1]])(TRAIN[0]) == call.target


def test_nearest_request_has_the_highest_jaccard_measure() -> None:
    for asked in ("wake me tomorrow", "snow, or rain", "Rain", "unknown words", ""):
        bag = set(words(asked))
        overlaps = [len(bag & set(words(e.request))) / max(1, len(bag | set(words(e.request)))) for e in TRAIN]
        assert nearest_request(TRAIN)(example(asked, "")) == TRAIN[overlaps.index(max(overlaps))].target


def test_naive_bayes_is_the_textbook_formula() -> None:
    vocabulary = {word for e in TRAIN for word in words(e.request)}
    for asked in ("tomorrow", "it will snow", "me at noon", "wake rain"):
        scores = {}
        for label in ("alarm", "weather"):
            bags = [words(e.request) for e in TRAIN if e.target.text == label]
            counts = Counter(word for bag in bags for word in bag)
            total = sum(counts.values()) + SMOOTHING * len(vocabulary)
            known = [word for word in words(asked) if word in vocabulary]
            likelihood = math.prod((counts[word] + SMOOTHING) / total for word in known)
            scores[label] = len(bags) / len(TRAIN) * likelihood
        assert naive_bayes(TRAIN)(example(asked, "")).text == max(scores, key=scores.__getitem__)


def test_words_lose_case_and_punctuation() -> None:
    assert words('"Don\'t," she said. -- OK?') == ["don't", "she", "said", "--", "ok"]
