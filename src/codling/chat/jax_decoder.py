"""Token by token: one sequence, its key/value cache, and the draws of what comes next.

A prompt is compared with what the cache holds, and only what differs from there on is run, so a new turn of a
conversation costs its own tokens. Programs are compiled for a few chunk lengths only, and every draw happens inside
the same program as the step before it.

Tried and dropped: a cache that starts small and doubles. Attention over empty slots is paid for, but at each doubling
the answer stood still for a compilation, which cost more than a whole context of the quickstart saved.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from codling.chat.decoder import Drawn, Proposals
from codling.errors import UserError
from codling.model.generate import Sampling, extend_cache, sample
from codling.model.kv_cache import KVCache, empty_cache
from codling.model.transformer import Transformer

CHUNK_LENGTHS_TOKENS = (1, 64, 256)
"""Prompts are run in pieces of these lengths, the last one padded up: one compilation for each."""


class JaxDecoder:
    """One sequence of a model, continued a token at a time. The same calls and seed draw the same tokens."""

    def __init__(self, model: Transformer, sampling: Sampling, seed: int) -> None:
        self._model = model
        self._sampling = sampling
        # The key of row 0 in `model.generate.generate`: both draw the same tokens.
        self._key = jax.random.fold_in(jax.random.key(seed), 0)
        self._num_drawn = 0
        self._cache: KVCache | None = None
        self._ids: list[int] = []
        """What the cache holds."""

    @property
    def proposals(self) -> Proposals:
        """Every token is drawn by itself."""
        return Proposals(0, 0)

    @property
    def context_length_tokens(self) -> int:
        """Tokens that prompt and answer may have together."""
        return self._model.config.context_length_tokens

    def check_fits(self, prompt: Sequence[int]) -> None:
        """Errors: `UserError` if the prompt leaves no room for even one token of an answer."""
        if not prompt:
            raise UserError("the prompt is empty; say something")
        if len(prompt) >= self.context_length_tokens:
            raise UserError(
                f"the prompt has {len(prompt)} tokens, the context of this model holds {self.context_length_tokens}, "
                "prompt and answer together; nothing was run, shorten it"
            )

    def run(self, prompt: Sequence[int], max_new_tokens: int, stop_ids: Sequence[int]) -> Drawn:
        """Draw tokens after `prompt` up to and with a stop token, the limit, or the end of the context.

        Errors: `UserError` from `check_fits`.
        """
        self.check_fits(prompt)
        ids = list(prompt)
        room_tokens = min(max_new_tokens, self.context_length_tokens - len(ids))
        for _ in range(room_tokens):
            drawn = self._draw_after(ids)
            yield drawn
            if drawn in stop_ids:
                return
            ids.append(drawn)

    def _draw_after(self, ids: list[int]) -> int:
        """Bring the cache up to `ids` and draw what comes next."""
        # The last token is always run: its logits are what the draw needs.
        known = min(_common_length(self._ids, ids), len(ids) - 1)
        del self._ids[known:]
        # A step gives its cache up to the next one: if it is interrupted there may be none, so there is nothing cached.
        cache = self._empty_cache() if self._cache is None else self._cache
        cached = self._ids
        self._cache, self._ids = None, []
        while len(cached) < len(ids):
            chunk = ids[len(cached) : len(cached) + CHUNK_LENGTHS_TOKENS[-1]]
            drawn, cache = self._run_chunk(cache, len(cached), chunk)
            cached += chunk
        self._cache, self._ids = cache, cached
        self._num_drawn += 1
        return int(drawn[0])

    def _run_chunk(self, cache: KVCache, start: int, chunk: Sequence[int]) -> tuple[Array, KVCache]:
        padded = np.zeros((1, min(length for length in CHUNK_LENGTHS_TOKENS if length >= len(chunk))), np.int32)
        padded[0, : len(chunk)] = chunk
        place, length = np.full(1, start, np.int32), np.full(1, len(chunk), np.int32)
        stepped: tuple[Array, KVCache] = _step(
            self._model, cache, padded, place, length, self._key, self._num_drawn, self._sampling
        )
        return stepped

    def _empty_cache(self) -> KVCache:
        return empty_cache(self._model.config, 1, self.context_length_tokens, self._model.embedding.dtype)


@partial(jax.jit, static_argnames="sampling", donate_argnames="cache")
def _step(
    model: Transformer,
    cache: KVCache,
    tokens: Int[Array, "1 T"],
    start: Int[Array, " 1"],
    lengths_tokens: Int[Array, " 1"],
    key: PRNGKeyArray,
    num_drawn: Int[Array, ""] | int,
    sampling: Sampling,
) -> tuple[Int[Array, " 1"], KVCache]:
    """Run the first lengths_tokens of the tokens at position `start`, and draw the next one."""
    placed = KVCache(cache.keys, cache.values, jnp.broadcast_to(start, cache.positions.shape))
    logits, cache = extend_cache(model, placed, tokens, lengths_tokens)
    return sample(logits, jax.random.fold_in(key, num_drawn)[None], sampling), cache


def _common_length(left: list[int], right: list[int]) -> int:
    if right[: len(left)] == left:
        return len(left)
    pairs = zip(left, right, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))
