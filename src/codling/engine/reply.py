"""One answer: read token by token, from a thread or from asyncio.

Nothing runs in the background. Reading runs the engine, for all sessions whose readers wait or lag only a little, so
the first token is worked on when it is first asked for.
"""

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, final

import numpy as np
from jaxtyping import Bool, Int32, UInt32

from codling.engine import _native
from codling.engine.answer_text import AnswerText

FinishReason = Literal["stop", "length", "context", "cancelled"]
"""A stop token or string; the limit on new tokens; the end of the context; the reader, `Engine.close` or an error."""
Speculate = Literal["none", "lookup", "draft"]
"""How tokens are guessed, to be checked several at once: not at all, from what was said before, by the draft model."""
Allowed = Bool[np.ndarray, " V"] | UInt32[np.ndarray, " W"] | None
"""Which tokens may come: one boolean each, or 32 of them in a word from its lowest bit on; all of them."""
MaskHook = Callable[[Int32[np.ndarray, " M"]], Allowed]
"""Given the ids of the answer so far, called once for each token. It may be called in any thread that reads."""

FINISH_REASONS: dict[_native.Finish, FinishReason] = {
    _native.Finish.STOP: "stop",
    _native.Finish.LENGTH: "length",
    _native.Finish.CONTEXT: "context",
    _native.Finish.CANCELLED: "cancelled",
}


class Token(NamedTuple):
    """One token of an answer."""

    id: int
    text: str
    """What it adds to the text that is certain: none while a character or a stop string may be unfinished."""
    logprob: float | None
    """None unless `Sampling.logprobs` asks for it."""
    best: tuple[tuple[int, float], ...]
    """The likeliest tokens and their log-probabilities, best first."""


class Usage(NamedTuple):
    """What an answer took."""

    prompt_tokens: int
    cached_tokens: int
    """Of the prompt: that were not run."""
    new_tokens: int
    proposed_tokens: int
    """By speculation."""
    accepted_tokens: int
    compactions: tuple[int, ...]
    """Tokens that were left out, each time that the context was full."""


class Started(NamedTuple):
    """A sequence that the engine goes on with."""

    request: _native.Request
    num_tokens: int
    """That it goes on from."""
    num_dropped: int
    """Left out of it."""


@dataclass
class ContextMeter:
    """How full the context of a session is."""

    used_tokens: int
    """Prompt and answer, as far as it was read."""
    length_tokens: int
    """What it holds."""


class Source(NamedTuple):
    """Where an answer comes from."""

    scheduler: _native.Scheduler
    start: Callable[[list[int], int, MaskHook | None], Started]
    """Goes on with these ids for up to so many more."""
    is_endless: bool
    """Whether it can start again when the context is full."""
    meter: ContextMeter
    identity: str


@final
class Reply:
    """Iterate it for tokens; breaking off, `cancel` or garbage collection end the work on it. One reader at a time."""

    def __init__(
        self, source: Source, prompt: Sequence[int], max_new_tokens: int, text: AnswerText, mask: MaskHook | None
    ) -> None:
        """For `Session.generate`."""
        self.identity = source.identity
        """Base and adapter."""
        self.ids: list[int] = []
        """What was read so far."""
        self.finish: FinishReason | None = None
        """None while more may come."""
        self._pieces: list[str] = []
        self._source = source
        self._prompt = list(prompt)
        self._drawn_ids: list[int] = []
        """The answer, whether it was read or not."""
        self._unread: deque[_native.Draw] = deque()
        self._max_new_tokens = max_new_tokens
        self._answer_text = text
        self._mask = mask
        self._requests: list[_native.Request] = []
        self._compactions: list[int] = []
        self._drawn_finish = _native.Finish.NONE
        self._start()

    def __iter__(self) -> Iterator[Token]:
        try:
            while self.finish is None:
                if self._unread:
                    yield self._read()
                else:
                    self._source.scheduler.wait(self._requests[-1])
                    self._take()
        finally:
            self.cancel()

    async def __aiter__(self) -> AsyncIterator[Token]:
        try:
            while self.finish is None:
                if self._unread:
                    yield self._read()
                    continue
                if not self._source.scheduler.is_ready(self._requests[-1]):
                    await asyncio.to_thread(self._source.scheduler.wait, self._requests[-1])
                self._take()
        finally:
            self.cancel()

    def __del__(self) -> None:
        self.cancel()

    def cancel(self) -> None:
        """End it, unless it has ended. Safe in any thread; does not wait for anything."""
        if self.finish is None:
            self.finish = "cancelled"
            if self._requests:
                self._source.scheduler.cancel(self._requests[-1])

    @property
    def text(self) -> str:
        """What was read so far."""
        return "".join(self._pieces)

    @property
    def usage(self) -> Usage:
        """What it took so far."""
        parts = [self._source.scheduler.usage(request) for request in self._requests]
        return Usage(
            prompt_tokens=len(self._prompt),
            cached_tokens=parts[0].num_cached,
            new_tokens=len(self.ids),
            proposed_tokens=sum(part.num_proposed for part in parts),
            accepted_tokens=sum(part.num_accepted for part in parts),
            compactions=tuple(self._compactions),
        )

    def _start(self) -> None:
        mask = None if self._mask is None else _weak_call(self, np.asarray(self._drawn_ids, np.int32))
        ids = self._prompt + self._drawn_ids
        started = self._source.start(ids, self._max_new_tokens - len(self._drawn_ids), mask)
        # All that is left out of prompt and answer, before this time and now.
        if num_dropped := started.num_dropped - sum(self._compactions):
            self._compactions.append(num_dropped)
        self._requests.append(started.request)
        self._source.meter.used_tokens = started.num_tokens - len(self._drawn_ids) + len(self.ids)

    def _take(self) -> None:
        """Fetch what was drawn."""
        draws, self._drawn_finish = self._source.scheduler.take(self._requests[-1])
        self._unread.extend(draws)
        self._drawn_ids.extend(draw.token for draw in draws)
        if self._drawn_finish == _native.Finish.CONTEXT and self._source.is_endless:
            self._drawn_finish = _native.Finish.NONE
            self._start()
        elif self._drawn_finish == _native.Finish.CANCELLED:
            self.finish = "cancelled"

    def _read(self) -> Token:
        """Give out the next of what was fetched."""
        draw = self._unread.popleft()
        is_last = self._drawn_finish != _native.Finish.NONE and not self._unread
        is_stop_token = is_last and self._drawn_finish == _native.Finish.STOP
        text = "" if is_stop_token else self._answer_text.push(draw.token)
        if is_last and not self._answer_text.is_stopped:
            text += self._answer_text.finish()
        self.ids.append(draw.token)
        self._pieces.append(text)
        self._source.meter.used_tokens += 1
        if self._answer_text.is_stopped:
            self.cancel()
            self.finish = "stop"
        elif is_last:
            self.finish = FINISH_REASONS[self._drawn_finish]
        best = tuple(draw.best)
        return Token(draw.token, text, draw.logprob if best else None, best)


def _weak_call(reply: Reply, earlier: np.ndarray) -> MaskHook:
    """The mask of a reply, that keeps it no longer alive than its reader does."""
    weak = weakref.ref(reply)

    def call(ids: np.ndarray) -> Any:
        alive = weak()
        if alive is None or alive._mask is None:
            return None
        return alive._mask(np.concatenate((earlier, ids)) if earlier.size else ids)

    return call
