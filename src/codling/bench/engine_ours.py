"""Our side of the engine's bench: what a user of `codling.engine` calls, and nothing faster."""

import tempfile
import threading
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import final

import numpy as np

from codling.bench.engine_run import repeats_of
from codling.engine.engine import Engine
from codling.engine.session import Session
from codling.engine.session_file import read_session
from codling.tokenizer.special_tokens import FIRST_LEARNED_ID


def random_ids(num_tokens: int, vocab_size: int, seed: int) -> list[int]:
    """Tokens of words, drawn evenly."""
    drawn: list[int] = np.random.default_rng(seed).integers(FIRST_LEARNED_ID, vocab_size, num_tokens).tolist()
    return drawn


@final
class OurSide:
    """An engine, and sessions that have read contexts of given lengths."""

    def __init__(self, bundle: Path, num_threads: int) -> None:
        """Open the bundle. Errors: as for `Engine.open`."""
        self.engine = Engine.open(bundle, num_threads=num_threads)
        self._contexts: dict[int, Session] = {}
        self._num_prompts = 0

    @property
    def vocab_size(self) -> int:
        """Of the model."""
        return self.engine.tokenizer.vocab_size

    def prompt(self, num_tokens: int, adapter: str | None = None) -> int:
        """Run a prompt that was never run before, and choose the first token after it."""
        self._num_prompts += 1
        ids = random_ids(num_tokens, self.vocab_size, self._num_prompts)
        return _generate(self.engine.session(adapter=adapter), ids, 1)[0]

    def generate(self, context_tokens: int, num_tokens: int) -> list[int]:
        """Generate after a context of random tokens, which is made once and kept.

        A long one is repeats of a short one, in keys and values, too: it takes as much work, if not what was run.
        """
        times, part_tokens = repeats_of(max(1, context_tokens))
        part = random_ids(part_tokens, self.vocab_size, 0)
        if context_tokens not in self._contexts:
            self._contexts[context_tokens] = self.engine.session(adapter="none")
            if times > 1:
                self._repeat(self._contexts[context_tokens], part, times)
        return _generate(self._contexts[context_tokens], part * times, num_tokens)

    def _repeat(self, session: Session, part: list[int], times: int) -> None:
        _generate(session, part, 1)
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "part.session"
            session.save(path)
            stored = read_session(path)
            session.restore(path, stored._replace(ids=np.tile(stored.ids, times), pages=np.tile(stored.pages, times)))

    def generate_together(self, adapters: Sequence[str], num_tokens: int) -> None:
        """Generate in as many sessions as there are adapters, at the same time, a thread each."""
        sessions = [self.engine.session(adapter=adapter) for adapter in adapters]
        threads = [
            threading.Thread(target=_generate, args=(session, [FIRST_LEARNED_ID + place], num_tokens))
            for place, session in enumerate(sessions)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _generate(session: Session, ids: Sequence[int], num_tokens: int) -> list[int]:
    """So many tokens, whatever they say."""
    return list(islice(session.run(ids, num_tokens, ()), num_tokens))
