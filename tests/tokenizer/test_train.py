import itertools
import re
from collections import Counter

import pydantic
import pytest

from codling.errors import UserError
from codling.tokenizer.encode import Tokenizer
from codling.tokenizer.special_tokens import FIRST_LEARNED_ID
from codling.tokenizer.train import TokenizerConfig, train_tokenizer


def learned(texts: list[str], vocab_size: int, **more: float) -> list[str]:
    """The learned pieces, the earliest merge first and single characters last."""
    config = TokenizerConfig(vocab_size=vocab_size, **more)  # type: ignore[arg-type]
    tokens = Tokenizer.from_bytes(train_tokenizer(texts, config)).token_bytes
    return [piece.decode() for piece in tokens[FIRST_LEARNED_ID:]]


def test_same_texts_give_the_same_bytes(alice: str) -> None:
    paragraphs = alice.split("\n\n")
    config = TokenizerConfig(vocab_size=400)
    assert train_tokenizer(paragraphs, config) == train_tokenizer(iter(paragraphs), config)


def test_vocabulary_has_the_size_asked_for(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocab_size == 600


def test_no_piece_holds_a_digit_and_something_else(alice: str) -> None:
    pieces = learned([alice, "Room 101, 2024-10-10: 101 101 ４２ ４２" * 50], 700, character_coverage=1.0)
    with_digits = [piece for piece in pieces if re.search("[0-9０-９]", piece)]
    assert sorted(with_digits) == list("0124２４")


def test_no_piece_reaches_into_the_next_line(alice: str) -> None:
    code = 'def f():\n    return "x"\n\n\ndef g():\n\treturn "y"\n' * 20
    pieces = learned([alice, code], 900)
    assert {"\n", "\n\n", ".\n\n"} <= set(pieces)
    assert not [piece for piece in pieces if re.search(r"\n[^\n]", piece)]


def test_runs_of_spaces_become_pieces(alice: str) -> None:
    assert {"    ", "        "} <= set(learned([alice, "if x:\n    y\n        z\n" * 50], 700))


def test_first_merges_are_the_most_frequent_pairs() -> None:
    text = "banana bandana cabana " * 30
    words = [f" {word}" if index else word for index, word in enumerate(text.split())]
    pairs = Counter(pair for word in words for pair in itertools.pairwise(word))
    most_frequent = {"".join(pair) for pair, count in pairs.items() if count == max(pairs.values())}
    assert learned([text], FIRST_LEARNED_ID + 12)[0] in most_frequent


@pytest.mark.parametrize("reserved", ["\u2581", "\u2585", "\0", "\t", "<|end|>", "</s>", "<0x41>"])
def test_texts_with_characters_that_mean_something_to_sentencepiece_are_learned_from(alice: str, reserved: str) -> None:
    pieces = learned([alice, *[f"zebra{reserved}zebra zebra"] * 50], 700)
    assert " zebra" in pieces
    assert not [piece for piece in pieces if "\u2581" in piece or "\u2585" in piece]


def test_a_document_longer_than_sentencepiece_takes_by_default_is_learned_from(
    alice: str,
) -> None:
    assert " zebra" in learned([alice, "zebra " * 5000], 700)


def test_longest_piece_is_bounded(alice: str) -> None:
    assert max(map(len, learned([alice], 700))) > 5
    assert max(map(len, learned([alice], 700, max_piece_length=5))) == 5


@pytest.mark.parametrize("texts", [[], [""], [" \n\t", "\n"]])
def test_empty_corpus_is_refused(texts: list[str]) -> None:
    with pytest.raises(UserError, match="the corpus holds no text"):
        train_tokenizer(texts, TokenizerConfig(vocab_size=400))


def test_too_small_corpus_names_the_largest_vocabulary(alice: str) -> None:
    with pytest.raises(UserError, match=r"too small for vocab_size = 50000, set it to (\d+) at most") as caught:
        train_tokenizer([alice], TokenizerConfig(vocab_size=50_000))
    largest = int(re.findall(r"set it to (\d+)", str(caught.value))[0])
    train_tokenizer([alice], TokenizerConfig(vocab_size=largest))


def test_too_small_vocabulary_names_the_smallest(alice: str) -> None:
    with pytest.raises(UserError, match=r"set it to (\d+) at least") as caught:
        train_tokenizer([alice], TokenizerConfig(vocab_size=FIRST_LEARNED_ID + 1))
    smallest = int(re.findall(r"set it to (\d+)", str(caught.value))[0])
    train_tokenizer([alice], TokenizerConfig(vocab_size=smallest))


def test_lone_surrogate_is_refused() -> None:
    with pytest.raises(UserError, match="text 1 of the corpus is no valid Unicode"):
        train_tokenizer(["fine", "not \ud800"], TokenizerConfig(vocab_size=400))


@pytest.mark.parametrize("values", [{"vocab_size": FIRST_LEARNED_ID}, {"vocab_size": 400, "character_coverage": 0.5}])
def test_impossible_settings_are_refused(values: dict[str, int | float]) -> None:
    with pytest.raises(pydantic.ValidationError):
        TokenizerConfig(**values)  # type: ignore[arg-type]
