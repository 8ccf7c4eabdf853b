"""The text of an answer as its tokens come."""

from collections.abc import Sequence
from typing import final

from codling.errors import UserError
from codling.tokenizer.encode import StreamDecoder, TokenTable


@final
class AnswerText:
    """Decodes ids up to a stop string. Text that may still become one is held back, as are unfinished characters."""

    def __init__(self, tokenizer: TokenTable, stop: Sequence[str]) -> None:
        """Errors: `UserError` for a stop string that every text has."""
        if "" in stop:
            raise UserError("a stop string is empty, so every answer would end at once; leave it out")
        self._decoder = StreamDecoder(tokenizer)
        self._stop = tuple(stop)
        # Longest first: what is held back is as long as it has to be.
        self._beginnings = sorted({one[:end] for one in stop for end in range(1, len(one))}, key=len, reverse=True)
        self._held = ""
        self.is_stopped = False
        """Whether a stop string has come; it and what follows are not part of the text."""

    def push(self, token_id: int) -> str:
        """Take one more id; return the text that is certain now, often none."""
        new = self._decoder.push(token_id)
        if not self._stop:
            return new
        text = self._cut(self._held + new)
        held = next((beginning for beginning in self._beginnings if text.endswith(beginning)), "")
        self._held = "" if self.is_stopped else held
        return text if self.is_stopped else text.removesuffix(held)

    def finish(self) -> str:
        """Return what is still held back."""
        text, self._held = self._cut(self._held + self._decoder.finish()), ""
        return text

    def _cut(self, text: str) -> str:
        """The text before the first stop string."""
        places = [place for one in self._stop if (place := text.find(one)) >= 0]
        self.is_stopped = bool(places)
        return text[: min(places)] if places else text
