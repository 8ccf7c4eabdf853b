"""Sentences of real documents between which made-up ones are hidden.

A stretch of filler is the sentences of a document as they follow each other, from a random place on; where a document
ends, another begins. Sentences that hold a forbidden word are left out, so that what is hidden stands nowhere else.
"""

import random
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from codling.errors import UserError

SENTENCE_END = re.compile(r"(?<=[.!?\"])\s+")
MAX_SENTENCE_TOKENS = 48
"""Longer sentences are left out: a stretch falls short of its length by less than this."""


class Sentence(NamedTuple):
    """A sentence, with the space before it."""

    text: str
    length_tokens: int


class Filler:
    """Draws stretches of sentences. Documents are read and spelled when they are first drawn.

    Errors: `UserError` where no document is given, or none has a sentence that may be used.
    """

    def __init__(
        self, documents: Sequence[str], encode: Callable[[str], list[int]], *, forbidden: Iterable[str] = ()
    ) -> None:
        if not documents:
            raise UserError("filler: there are no documents to take sentences from; name a kind of text that has some")
        words = "|".join(re.escape(word) for word in forbidden)
        # By the beginning of a word, so that "maps" goes with "map".
        self._forbidden = re.compile(rf"\b(?:{words})", re.IGNORECASE) if words else None
        self._documents = documents
        self._encode = encode
        self._sentences: dict[int, list[Sentence]] = {}

    def draw(self, length_tokens: int, rng: random.Random) -> list[Sentence]:
        """A stretch of at most `length_tokens`, ended by the first sentence that does not fit any more."""
        stretch: list[Sentence] = []
        left, failures = length_tokens, 0
        while True:
            sentences = self._sentences_of(rng.randrange(len(self._documents)))
            failures = 0 if sentences else failures + 1
            if failures > 10 * len(self._documents):
                raise UserError("filler: no document has a sentence that may be used; name other kinds of text")
            for sentence in sentences[rng.randrange(len(sentences)) :] if sentences else ():
                if sentence.length_tokens > left:
                    return stretch
                stretch.append(sentence)
                left -= sentence.length_tokens

    def _sentences_of(self, index: int) -> list[Sentence]:
        if index not in self._sentences:
            texts = (f" {text}" for text in SENTENCE_END.split(self._documents[index].strip()) if text)
            sentences = (Sentence(text, len(self._encode(text))) for text in texts if not self._is_forbidden(text))
            self._sentences[index] = [
                sentence for sentence in sentences if 0 < sentence.length_tokens <= MAX_SENTENCE_TOKENS
            ]
        return self._sentences[index]

    def _is_forbidden(self, text: str) -> bool:
        return self._forbidden is not None and self._forbidden.search(text) is not None
