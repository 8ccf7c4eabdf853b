"""Facts are where they are said to be, the right one is asked for, and nothing else in the text tells it."""

import random
import re
from typing import get_args

import numpy as np
import pytest

from codling.config import from_dict
from codling.data.filler import MAX_SENTENCE_TOKENS
from codling.data.long_questions import (
    CATEGORIES,
    NAMES,
    VALUES,
    Category,
    Document,
    QuestionsConfig,
    QuestionWords,
    QuestionWriter,
    write_training_documents,
)
from codling.data.sources import Split, load_documents
from codling.errors import UserError

SPLITS: tuple[Split, ...] = get_args(Split)
STORIES = {split: load_documents("stories", split)[:60] for split in SPLITS}
STORIES_OF = {split: {"stories": STORIES[split]} for split in SPLITS}
CONFIG = QuestionsConfig(
    num_documents=60,
    min_length_tokens=60,
    max_length_tokens=300,
    share_by_category={"one_fact": 1.0, "several_facts": 1.0, "overwritten_fact": 1.0},
)
TOLD = re.compile(r"(?<!\? )The word of (\w+) is (\w+)\.")
ASKED = re.compile(r"What is the word of (\w+)\? The word of (\w+) is (\w+)\.")


def encode(text: str) -> list[int]:
    """A tokenizer of one token a word or full stop."""
    return [3 + len(word) for word in re.findall(r"\w+|[^\w\s]", text)]


def writer(split: Split = "train", words: QuestionWords | None = None) -> QuestionWriter:
    return QuestionWriter(STORIES[split], words or QuestionWords(), split, encode)


def documents(category: Category, count: int = 30, **options: float) -> list[Document]:
    rng = random.Random(0)
    return [writer().write(category, 200, rng, **options) for _ in range(count)]  # type: ignore[arg-type]


def read(document: Document) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What the text says by itself: facts in their order, and questions with their answers."""
    asked = [(name, value) for name, again, value in ASKED.findall(document.text) if name == again]
    return TOLD.findall(document.text), asked


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_text_tells_the_facts_and_asks_for_them_at_its_end(category: Category) -> None:
    for document in documents(category):
        told, asked = read(document)
        assert told == list(document.facts)
        assert asked == list(document.asked)
        assert document.text.rindex(f"is {told[-1][1]}.") > 0
        assert document.text.index("What is the word of") > document.text.index(f"The word of {told[-1][0]}")


def test_answers_are_those_that_were_told_last() -> None:
    for category in CATEGORIES:
        for document in documents(category):
            told, asked = read(document)
            last = dict(told)
            assert asked
            assert all(last[name] == value for name, value in asked)


def test_categories_have_their_numbers_of_facts() -> None:
    assert {len(document.facts) for document in documents("one_fact")} == {1}
    for document in documents("overwritten_fact"):
        first, last = document.facts
        assert first.name == last.name
        assert first.value != last.value
        assert document.asked == (last,)
    for number in (2, 4):
        assert {len(document.facts) for document in documents("several_facts", num_facts=number)} == {number}
    for document in documents("several_facts"):
        assert sorted(document.facts) == sorted(document.asked)
        assert len({fact.name for fact in document.facts}) == len(document.facts)
        assert len({fact.value for fact in document.facts}) == len(document.facts)


def test_the_text_around_the_facts_names_no_value() -> None:
    for document in documents("several_facts"):
        around = ASKED.sub("", TOLD.sub("", document.text)).lower()
        assert not any(re.search(rf"\b{value}", around) for value in VALUES)


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("depth", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_the_fact_that_is_asked_for_lies_at_its_depth(category: Category, depth: float) -> None:
    for document in documents(category, count=10, depth=depth, num_asked=1):
        (fact,) = document.asked
        text = ASKED.sub("", document.text)
        before, after = text.split(f"The word of {fact.name} is {fact.value}.")
        sizes = [len(encode(TOLD.sub("", part))) for part in (before, after)]
        assert abs(sizes[0] - depth * sum(sizes)) <= MAX_SENTENCE_TOKENS / 2


@pytest.mark.parametrize("category", CATEGORIES)
def test_lengths_keep_their_bounds(category: Category) -> None:
    for length in (100, 257, 500):
        ids, mask = writer().write(category, length, random.Random(0)).encode(encode, bos_id=1, eos_id=2)
        assert length - MAX_SENTENCE_TOKENS <= len(ids) <= length
        assert len(mask) == len(ids)


def test_the_loss_mask_is_on_the_answers_alone() -> None:
    document = documents("several_facts", count=1)[0]
    ids, mask = document.encode(lambda text: [ord(c) for c in text], bos_id=1, eos_id=2)
    masked = "".join(chr(id) for id, is_answer in zip(ids, mask, strict=True) if is_answer)
    assert masked == "".join(f" {fact.value}" for fact in document.asked)
    assert (ids[0], ids[-1]) == (1, 2)
    assert "".join(map(chr, ids[1:-1])) == document.text


def test_training_documents_have_two_to_four_facts_and_keep_the_greatest_length() -> None:
    written = write_training_documents(CONFIG, "q", STORIES_OF["train"], encode)
    assert len(written) == CONFIG.num_documents
    assert {len(document.facts) for document in written} == {1, 2, 3, 4}
    lengths = [len(document.encode(encode, bos_id=1, eos_id=2)[0]) for document in written]
    assert max(lengths) <= CONFIG.max_length_tokens
    assert min(lengths) < 1.5 * CONFIG.min_length_tokens


def test_leaning_to_the_short_makes_most_documents_short() -> None:
    leaning = from_dict(QuestionsConfig, vars_of(CONFIG) | {"short_leaning": 3.0}, source="test")
    written = (write_training_documents(config, "q", STORIES_OF["train"], encode) for config in (leaning, CONFIG))
    means = [np.mean([len(encode(document.text)) for document in documents]) for documents in written]
    assert means[0] < 0.8 * means[1]


def test_no_held_out_document_is_in_training() -> None:
    """Its sentences come from held-out stories: none of them, unless very short, stands in a training document."""
    train = {part for d in write_training_documents(CONFIG, "q", STORIES_OF["train"], encode) for part in around(d)}
    rng = random.Random(0)
    heldout = {part for _ in range(60) for part in around(writer("heldout").write("one_fact", 200, rng))}
    long = {part for part in heldout if len(part) > 40}
    assert long
    assert not long & train


def around(document: Document) -> list[str]:
    """The sentences around facts and questions."""
    return re.split(r"(?<=[.!?])\s+", ASKED.sub("", TOLD.sub("", document.text)))


def test_new_words_are_those_of_no_training_document() -> None:
    words = QuestionWords(new_words=True, num_names=24, num_values=24)
    assert not set(words.names("train")) & set(words.names("heldout"))
    assert not set(words.values("train")) & set(words.values("heldout"))
    document = writer("heldout", words).write("several_facts", 200, random.Random(0))
    assert {fact.value for fact in document.facts} <= set(words.values("heldout"))
    same = QuestionWords()
    assert (same.names("train"), same.values("train")) == (same.names("heldout"), same.values("heldout"))


def test_the_same_seed_writes_the_same_and_another_does_not() -> None:
    one, other, third = (
        write_training_documents(config, "q", STORIES_OF["train"], encode)
        for config in (CONFIG, CONFIG, from_dict(QuestionsConfig, vars_of(CONFIG) | {"seed": 1}, source="test"))
    )
    assert one == other != third


def vars_of(config: QuestionsConfig) -> dict[str, object]:
    return {name: getattr(config, name) for name in ("num_documents", "min_length_tokens", "max_length_tokens")} | {
        "share_by_category": config.share_by_category
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_documents": 0}, "num_documents is 0"),
        ({"short_leaning": 0.0}, "short_leaning is 0.0"),
        ({"min_length_tokens": 400}, "min_length_tokens is 400, max_length_tokens 300"),
        ({"share_by_category": {}}, "at least one category"),
        ({"share_by_category": {"one_fact": -1.0}}, "positive shares"),
        ({"share_by_category": {"no_fact": 1.0}}, "no_fact"),
        ({"words": {"num_names": 99}}, "num_names is 99, it must lie between"),
        ({"words": {"num_values": 1}}, "num_values is 1, it must lie between"),
    ],
)
def test_bad_configurations_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_dict(QuestionsConfig, vars_of(CONFIG) | change, source="recipe")


def test_too_little_room_is_filled_with_facts_alone_or_refused() -> None:
    short = writer().write("several_facts", 20, random.Random(0), longest_tokens=100)
    assert 20 < len(short.encode(encode, bos_id=1, eos_id=2)[0]) <= 100
    assert TOLD.sub("", ASKED.sub("", short.text)).strip() == ""
    with pytest.raises(UserError, match="20 tokens are too few for a document of category several_facts"):
        writer().write("several_facts", 20, random.Random(0))


def test_unknown_filler_is_named() -> None:
    with pytest.raises(UserError, match="no text of kind 'stories' to hide facts in; there is tales"):
        write_training_documents(CONFIG, "q", {"tales": ["A tale."]}, encode)


def test_names_and_values_are_written_once() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert len(set(VALUES)) == len(VALUES)
    assert not any(one != other and other.startswith(one) for one in VALUES for other in VALUES)
