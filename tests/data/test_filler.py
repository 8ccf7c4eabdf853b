"""Filler is the documents' own sentences, in their order, without forbidden words, and never too long."""

import random
from itertools import pairwise

import pytest

from codling.data.filler import MAX_SENTENCE_TOKENS, Filler
from codling.errors import UserError

DOCUMENTS = ['One is here. Two came! "Three?" Four maps lay there.', "Red ran. Blue sat."]


def words(text: str) -> list[int]:
    """A tokenizer of one token a word."""
    return [0] * len(text.split())


def test_sentences_follow_each_other_as_in_a_document() -> None:
    document = " ".join(f"Sheep {number} jumped." for number in range(9))
    stretch = Filler([document], words).draw(60, random.Random(0))
    numbers = [int(sentence.text.split()[1]) for sentence in stretch]
    assert len(numbers) == 20
    assert all(left == 8 or right == left + 1 for left, right in pairwise(numbers))


@pytest.mark.parametrize("length_tokens", [0, 1, 7, 30, 31])
def test_a_stretch_is_never_too_long_and_short_by_less_than_a_sentence(length_tokens: int) -> None:
    stretch = Filler(DOCUMENTS, words).draw(length_tokens, random.Random(1))
    total = sum(sentence.length_tokens for sentence in stretch)
    assert total == sum(len(sentence.text.split()) for sentence in stretch)
    assert length_tokens - 4 < total <= length_tokens


def test_forbidden_words_are_left_out_by_their_beginning_and_in_any_case() -> None:
    filler = Filler(DOCUMENTS, words, forbidden=["map", "TWO"])
    drawn = {sentence.text for sentence in filler.draw(500, random.Random(2))}
    assert drawn == {" One is here.", ' "Three?"', " Red ran.", " Blue sat."}


def test_the_same_seed_draws_the_same() -> None:
    one, other = (Filler(DOCUMENTS, words).draw(40, random.Random(3)) for _ in range(2))
    assert one == other


def test_nothing_to_draw_from_is_said() -> None:
    with pytest.raises(UserError, match="there are no documents to take sentences from"):
        Filler([], words)
    long = "word " * (MAX_SENTENCE_TOKENS + 1)
    with pytest.raises(UserError, match="no document has a sentence that may be used"):
        Filler([long], words).draw(10, random.Random(0))
