"""Long question answering made from the corpus: facts hidden in a text, and asked for at its end.

    ... The word of Lily is kite. ... What is the word of Lily? The word of Lily is kite.

Context-lengthening reads it (arXiv 2407.21075 section 2.2.4 has synthetic long question answering in that stage; how it
was made is not published, all of this is ours), and `evaluate.retrieval` measures by it. Three categories: `one_fact`;
`several_facts` of different names, each asked for; `overwritten_fact`, told twice with different values, of which the
later counts. Which value belongs to whom is drawn anew for each document: only its text can tell. Only answers are
learned.

Made for very small models: the answer repeats the fact's own words up to the value, values are few, and no sentence of
the text around names one. What was tried and dropped is in `bench/results/LOG.md`.
"""

import bisect
import itertools
import math
import random
from collections.abc import Callable, Collection
from typing import Literal, NamedTuple, get_args

from codling.config import config
from codling.data.filler import Filler, Sentence
from codling.data.sources import Split
from codling.errors import UserError
from codling.skills.grammar import share
from codling.skills.lexicon import listed
from codling.skills.skill import random_for

Category = Literal["one_fact", "several_facts", "overwritten_fact"]
CATEGORIES: tuple[Category, ...] = get_args(Category)
MAX_FACTS = 4
"""Of a `several_facts` document."""

FACT = " The word of {name} is"
QUESTION = " What is the word of {name}? The word of {name} is"
NAMES = listed("""
    Lily, Tim, Tom, Ben, Max, Sue, Sam, Mia, Sara, Lucy, Anna, Bob, Jack, John, Jane, Molly, Sally, Daisy, Joe, Leo,
    Emma, Jill, Ella, Andy, Bella, Jim, Fred, Peter, Frank, Grace
""")
VALUES = listed("""
    drum, bell, coat, feather, spoon, leaf, crayon, button, map, coin, rope, mirror, pencil, wagon, plate, kite, bucket,
    basket, blanket, shell, brush, pillow, jar, sock, shoe, stone, bottle, crown, ladder, lamp
""")
"""Short, and rare enough in stories that few sentences are lost to them."""


@config
class QuestionWords:
    """Who has a word, and which words there are. Training and measurement use the same."""

    num_names: int = 8
    num_values: int = 16
    """Few: each must be met often to be told apart by a small model. Ours, by trial."""
    new_words: bool = False
    """Whether held-out documents use names and values that training never uses, or the same ones in other text."""

    def __post_init__(self) -> None:
        for name, number, held in (("num_names", self.num_names, NAMES), ("num_values", self.num_values, VALUES)):
            if not MAX_FACTS <= number <= len(held):
                raise ValueError(f"{name} is {number}, it must lie between {MAX_FACTS} and {len(held)}")

    def names(self, split: Split) -> list[str]:
        """The names that a split may use."""
        return share(NAMES, split)[: self.num_names] if self.new_words else list(NAMES[: self.num_names])

    def values(self, split: Split) -> list[str]:
        """The values that a split may use."""
        return share(VALUES, split)[: self.num_values] if self.new_words else list(VALUES[: self.num_values])


@config
class QuestionsConfig:
    """A kind of text that mixtures can name: how many documents, and how long."""

    num_documents: int
    min_length_tokens: int
    """Where facts and questions need more than a length that is drawn, the document is as short as they allow."""
    max_length_tokens: int
    short_leaning: float = 1.0
    """A length is min * (max / min)^(u^short_leaning), u even in 0 to 1. Above 1 most documents are short: many answers
    fit a row, each with little around it to be told from, and a small model learns to copy far sooner (LOG)."""
    filler_kinds: tuple[str, ...] = ("stories",)
    """Kinds of the corpus's text that the facts are hidden in."""
    share_by_category: dict[Category, float]
    """Category -> share of the documents, in any unit."""
    words: QuestionWords = QuestionWords()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_documents < 1:
            raise ValueError(f"num_documents is {self.num_documents}, it must be 1 or more")
        if not 1 <= self.min_length_tokens <= self.max_length_tokens:
            bounds = f"min_length_tokens is {self.min_length_tokens}, max_length_tokens {self.max_length_tokens}"
            raise ValueError(f"{bounds}; the first must be 1 or more and not above the second")
        if not 0 < self.short_leaning < math.inf:
            raise ValueError(f"short_leaning is {self.short_leaning}, it must be positive")
        if not self.share_by_category or not all(0 < s < math.inf for s in self.share_by_category.values()):
            raise ValueError("share_by_category needs at least one category, and positive shares")


class Fact(NamedTuple):
    """Whose word is which."""

    name: str
    value: str


class Document(NamedTuple):
    """A text, its facts in the order in which it tells them, and what it is asked: each with the right value."""

    parts: tuple[str, ...]
    """Text and, at every second place, an answer."""
    facts: tuple[Fact, ...]
    asked: tuple[Fact, ...]

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.parts)

    def encode(self, encode: Callable[[str], list[int]], *, bos_id: int, eos_id: int) -> tuple[list[int], list[bool]]:
        """Ids of the document, and which of them are an answer's."""
        ids, mask = [bos_id], [False]
        for place, part in enumerate(self.parts):
            spelled = encode(part)
            ids += spelled
            mask += [place % 2 == 1] * len(spelled)
        return [*ids, eos_id], [*mask, False]


class QuestionWriter:
    """Writes documents of a split: filler of that split's documents, facts in its words."""

    def __init__(
        self, documents: list[str], words: QuestionWords, split: Split, encode: Callable[[str], list[int]]
    ) -> None:
        self._names, self._values = words.names(split), words.values(split)
        self._encode = encode
        # The other split's values too: its sentences would name them.
        self._filler = Filler(documents, encode, forbidden=VALUES)

    @property
    def values(self) -> list[str]:
        """What an answer may be."""
        return self._values

    def write(
        self,
        category: Category,
        length_tokens: int,
        rng: random.Random,
        *,
        num_facts: int = MAX_FACTS,
        depth: float | None = None,
        num_asked: int | None = None,
        longest_tokens: int = 0,
    ) -> Document:
        """A document of at most `length_tokens`, its begin and end counted.

        `several_facts` has `num_facts` of them. Where `depth` is given, the fact that the first question asks for has
        that share of the filler before it; every other fact stands at a random place (an overwritten one before the one
        that counts). `num_asked`: none asks for all. Where facts and questions alone are longer than `length_tokens`
        the document is just them, if `longest_tokens` allows it.

        Errors: `UserError` where it does not.
        """
        told, right = self._draw_facts(category, num_facts, rng)
        asked = right[:num_asked]
        needed = 2 + self._count(told, asked)
        if needed > max(length_tokens, longest_tokens):
            raise UserError(
                f"long questions: {max(length_tokens, longest_tokens)} tokens are too few for a document of category "
                f"{category}, it needs {needed}; raise the length"
            )
        sentences = self._filler.draw(max(0, length_tokens - needed), rng)
        depths = self._depths(category, len(told), depth, rng)
        order = sorted(range(len(told)), key=depths.__getitem__)
        facts = tuple(told[index] for index in order)
        filled = _insert(sentences, [_sentence(fact) for fact in facts], sorted(depths))
        if depth is None:
            rng.shuffle(asked)
        parts = [filled]
        for fact in asked:
            parts[-1] += QUESTION.format(name=fact.name)
            parts += [f" {fact.value}", "."]
        return Document((parts[0].removeprefix(" "), *parts[1:]), facts, tuple(asked))

    def _draw_facts(self, category: Category, num_facts: int, rng: random.Random) -> tuple[list[Fact], list[Fact]]:
        """What is told, and the part of it that is right. A fact that is overwritten comes before its successor."""
        number = 1 if category == "one_fact" else 2 if category == "overwritten_fact" else num_facts
        values = rng.sample(self._values, number)
        if category == "overwritten_fact":
            told = [Fact(name, value) for name, value in zip(rng.sample(self._names, 1) * 2, values, strict=True)]
            return told, told[1:]
        told = [Fact(*pair) for pair in zip(rng.sample(self._names, number), values, strict=True)]
        return told, list(told)

    def _depths(self, category: Category, num_facts: int, depth: float | None, rng: random.Random) -> list[float]:
        depths = [rng.random() for _ in range(num_facts)]
        if category == "overwritten_fact":
            last = max(depths) if depth is None else depth
            return [last * rng.random(), last]
        return depths if depth is None else [depth, *depths[1:]]

    def _count(self, told: list[Fact], asked: list[Fact]) -> int:
        """Tokens of facts and questions."""
        questions = [part for fact in asked for part in (QUESTION.format(name=fact.name), f" {fact.value}", ".")]
        return sum(len(self._encode(part)) for part in [*map(_sentence, told), *questions])


def write_training_documents(
    config: QuestionsConfig, kind: str, corpus: dict[str, list[str]], encode: Callable[[str], list[int]]
) -> list[Document]:
    """The documents of a kind, from the corpus's training text. Errors: `UserError` for filler that is not there."""
    check_filler(config.filler_kinds, corpus)
    filler = [text for kind in config.filler_kinds for text in corpus[kind]]
    writer = QuestionWriter(filler, config.words, "train", encode)
    rng = random_for(kind, "train", config.seed)
    shares = config.share_by_category
    documents = []
    for _ in range(config.num_documents):
        category = rng.choices(list(shares), list(shares.values()))[0]
        stretch = (config.max_length_tokens / config.min_length_tokens) ** (rng.random() ** config.short_leaning)
        length = int(config.min_length_tokens * stretch)
        num_facts = rng.randint(2, MAX_FACTS)
        documents.append(
            writer.write(category, length, rng, num_facts=num_facts, longest_tokens=config.max_length_tokens)
        )
    return documents


def check_filler(kinds: Collection[str], known: Collection[str]) -> None:
    """Raise `UserError` for a kind of filler that the corpus does not hold."""
    if unknown := sorted(set(kinds) - set(known)):
        raise UserError(f"long questions: no text of kind '{unknown[0]}' to hide facts in; there is {', '.join(known)}")


def _sentence(fact: Fact) -> str:
    return f"{FACT.format(name=fact.name)} {fact.value}."


def _insert(sentences: list[Sentence], facts: list[str], depths: list[float]) -> str:
    """Each fact before the first sentence whose middle lies deeper."""
    ends = list(itertools.accumulate(sentence.length_tokens for sentence in sentences))
    total = ends[-1] if ends else 0
    middles = [end - sentence.length_tokens / 2 for end, sentence in zip(ends, sentences, strict=True)]
    places = [bisect.bisect_left(middles, depth * total) for depth in depths]
    texts: list[str] = []
    for index in range(len(sentences) + 1):
        texts += [fact for fact, place in zip(facts, places, strict=True) if place == index]
        texts += [sentence.text for sentence in sentences[index : index + 1]]
    return "".join(texts)
