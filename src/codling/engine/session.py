"""One sequence on the engine: its key/value cache, and the answers that it gets.

A prompt is compared with what the cache holds, and only what differs from there on is run, so a new turn of a
conversation costs its own tokens.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Float

from codling.engine import _native
from codling.engine.adapter_cache import LoadedAdapter
from codling.engine.answer_text import AnswerText
from codling.engine.overflow import OnOverflow, check_keep, drop_middle
from codling.engine.reply import ContextMeter, MaskHook, Reply, Source, Speculate, Started
from codling.engine.sampling import Sampling
from codling.engine.session_file import Origin, StoredSession, check_origin, write_session
from codling.errors import UserError
from codling.tokenizer.imported import TextTokenizer

SPECULATION: dict[Speculate, _native.Speculation] = {
    "none": _native.Speculation.NONE,
    "lookup": _native.Speculation.LOOKUP,
    "draft": _native.Speculation.DRAFT,
}
TOKENS_PER_STEP = 240
"""Prompts are run in pieces of this length: what flows between layers stays small, and a reader can stop in between.
Ten of the widest tiles of tokens."""


class Shared(NamedTuple):
    """What all sessions of an engine share."""

    model: _native.Model
    scheduler: _native.Scheduler
    tokenizer: TextTokenizer
    origin: Origin
    """What keys and values depend on, but for the adapter."""


class Context(NamedTuple):
    """How full the context is."""

    used_tokens: int
    """Prompt and answer, as far as it was read."""
    length_tokens: int
    """What it holds."""


@final
class Session:
    """One sequence, with one answer at a time. The same calls draw the same tokens, whatever else the engine runs."""

    def __init__(
        self,
        shared: Shared,
        adapter: LoadedAdapter,
        identity: str,
        sampling: Sampling,
        on_overflow: OnOverflow,
        keep_first_tokens: int,
    ) -> None:
        """For `Engine.session`."""
        check_keep(keep_first_tokens, shared.model.context_length_tokens)
        self.identity = identity
        """Base and adapter, as its replies name them."""
        self._shared = shared
        self._adapter = adapter
        self._sampling = sampling.to_native()
        self._is_endless = on_overflow == "drop_middle"
        self._keep_first_tokens = keep_first_tokens
        self._sequence = _native.CachedSequence(shared.model, adapter.weights, adapter.reference)
        self._meter = ContextMeter(0, shared.model.context_length_tokens)

    @property
    def context(self) -> Context:
        """How full the context is after what was read of the last answer."""
        return Context(self._meter.used_tokens, self._meter.length_tokens)

    @property
    def context_length_tokens(self) -> int:
        """Tokens that prompt and answer may have together."""
        return self._meter.length_tokens

    def check_fits(self, prompt: Sequence[int]) -> None:
        """Errors: `UserError` if the prompt leaves no room for even one token of an answer."""
        self._shared.scheduler.check_fits(len(prompt))

    def generate(
        self,
        prompt_ids: Sequence[int],
        *,
        max_new_tokens: int | None = None,
        stop_ids: Sequence[int] = (),
        stop: Sequence[str] = (),
        mask: MaskHook | None = None,
        speculate: Speculate = "none",
    ) -> Reply:
        """Answer a prompt, up to and with one of `stop_ids`, up to a stop string, the limit, or the end of the context.

        Without a limit an answer ends with the context, also where the middle could be dropped.
        Errors: `UserError` for a prompt that is empty, is not of this vocabulary, or fills the context; while an
        answer of this session goes on; for a draft model that is not there; when the engine is closed.
        """
        if isinstance(stop, str):
            raise UserError(f"stop is the text {stop!r}; give a list of texts")
        stop_list = list(stop_ids)

        def start(ids: list[int], most_tokens: int, mask: MaskHook | None) -> Started:
            num_dropped = 0
            if self._is_endless:
                ids, num_dropped = drop_middle(ids, self.context_length_tokens, self._keep_first_tokens)
            request = self._shared.scheduler.add(
                self._sequence, ids, self._sampling, most_tokens, stop_list, SPECULATION[speculate], mask, num_dropped
            )
            return Started(request, len(ids), num_dropped)

        is_endless = self._is_endless and max_new_tokens is not None
        source = Source(self._shared.scheduler, start, is_endless, self._meter, self.identity)
        limit = self.context_length_tokens if max_new_tokens is None else max_new_tokens
        return Reply(source, prompt_ids, limit, AnswerText(self._shared.tokenizer, stop), mask)

    def save(self, path: Path) -> None:
        """Write its cache to a file, for `Engine.load_session`; a file that is there is replaced in one step.

        Errors: `UserError` while an answer goes on, and if the file cannot be written.
        """
        self._shared.scheduler.settle(self._sequence)
        pages = self._sequence.export_pages()
        write_session(path, StoredSession(self._sequence.ids(), pages, self._adapter.reference, self._origin()))

    def restore(self, path: Path, stored: StoredSession) -> None:
        """For `Engine.load_session`."""
        check_origin(path, stored, self._origin())
        try:
            self._sequence.restore(self._shared.model, stored.ids, stored.pages)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        self._meter.used_tokens = len(stored.ids)

    def _origin(self) -> Origin:
        return {**self._shared.origin, "adapter": self._adapter.sha256}

    def run(self, prompt: Sequence[int], max_new_tokens: int, stop_ids: Sequence[int]) -> Iterator[int]:
        """The tokens alone, as `codling.chat.decoder.Decoder` draws them. Errors: as for `generate`."""
        return (token.id for token in self.generate(prompt, max_new_tokens=max_new_tokens, stop_ids=stop_ids))

    def logits_after(self, ids: Sequence[int]) -> Float[np.ndarray, " V"]:
        """Scores of every vocabulary entry after these tokens. Errors: as for `logits`."""
        after_last: np.ndarray = self.logits(ids, 1)[0]
        return after_last

    def logits(self, ids: Sequence[int], num_last: int) -> Float[np.ndarray, "N V"]:
        """Scores of every vocabulary entry after each of the last tokens; they are run by themselves.

        Errors: `UserError` for tokens outside of the vocabulary, for more than the context holds, and for fewer than
        the logits that are wanted.
        """
        if not 1 <= num_last <= len(ids):
            raise UserError(
                f"the logits after the last {num_last} of {len(ids)} tokens; 1 is the least, and all the most"
            )
        cache, rows = _native.KvCache(self._shared.model), []
        for begin in range(0, len(ids), TOKENS_PER_STEP):
            chunk = list(ids[begin : begin + TOKENS_PER_STEP])
            num_logits = min(len(chunk), max(0, begin + len(chunk) - (len(ids) - num_last)))
            rows.append(
                self._shared.model.run([_native.Segment(cache, begin, chunk, self._adapter.weights, num_logits)])
            )
        return np.concatenate(rows)
