"""One sequence on the engine: its key/value cache, and the draws of what comes next.

A prompt is compared with what the cache holds, and only what differs from there on is run, so a new turn of a
conversation costs its own tokens.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from codling.engine._native import Adapter, KvCache, Model, Segment
from codling.engine.sampling import Sampling, draw
from codling.errors import UserError

CHUNK_LENGTH_TOKENS = 256
"""Prompts are run in pieces of this length: what flows between layers stays small, and a reader can stop in between."""


class Session:
    """One sequence, used by one thread at a time. The same calls and seed draw the same tokens."""

    def __init__(self, model: Model, adapter: Adapter | None, sampling: Sampling, seed: int) -> None:
        self._model = model
        self._adapter = adapter
        self._sampling = sampling
        self._random = np.random.default_rng(seed)
        self._cache = KvCache(model)
        self._ids: list[int] = []
        """What the cache holds, or the beginning of it."""

    @property
    def context_length_tokens(self) -> int:
        """Tokens that prompt and answer may have together."""
        return self._model.context_length_tokens

    def check_fits(self, prompt: Sequence[int]) -> None:
        """Errors: `UserError` if the prompt leaves no room for even one token of an answer."""
        if not prompt:
            raise UserError("the prompt is empty; say something")
        if len(prompt) >= self.context_length_tokens:
            raise UserError(
                f"the prompt has {len(prompt)} tokens, the context of this model holds {self.context_length_tokens}, "
                "prompt and answer together; nothing was run, shorten it"
            )

    def run(self, prompt: Sequence[int], max_new_tokens: int, stop_ids: Sequence[int]) -> Iterator[int]:
        """Draw tokens after `prompt` up to and with a stop token, the limit, or the end of the context.

        Errors: `UserError` from `check_fits`.
        """
        self.check_fits(prompt)
        ids = list(prompt)
        for _ in range(min(max_new_tokens, self.context_length_tokens - len(ids))):
            drawn = draw(self.logits_after(ids), self._sampling, self._random)
            yield drawn
            if drawn in stop_ids:
                return
            ids.append(drawn)

    def logits_after(self, ids: Sequence[int]) -> Float[np.ndarray, " V"]:
        """Scores of every vocabulary entry after these tokens.

        Errors: `UserError` for tokens outside of the vocabulary, and for more than the context holds.
        """
        ids = list(ids)
        # The last token is always run: its logits are what is asked for.
        known = min(_common_length(self._ids, ids), len(ids) - 1)
        del self._ids[known:]
        while True:
            chunk = ids[len(self._ids) : len(self._ids) + CHUNK_LENGTH_TOKENS]
            logits = self._model.run([Segment(self._cache, len(self._ids), chunk, self._adapter)])
            self._ids += chunk
            if len(self._ids) == len(ids):
                after_last: np.ndarray = logits[0]
                return after_last


def _common_length(left: list[int], right: list[int]) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(left), len(right)))
