"""A bundle to talk to, run by the native engine: nothing of JAX is imported, and weights are used where they lie."""

from collections.abc import Sequence
from pathlib import Path
from typing import final

from codling.chat.decoder import Drawn, Opened, Proposals
from codling.engine.engine import Engine
from codling.engine.reply import Speculate
from codling.engine.sampling import Sampling
from codling.engine.session import Session


def open_on_engine(
    bundle: Path,
    adapter: str | None,
    sampling: Sampling,
    *,
    num_threads: int | None,
    kv_type: str,
    rounds_activations: bool,
    draft: Path | None,
    speculate: Speculate,
) -> Opened:
    """Map a bundle, its adapter, and a draft model if one is named. Errors: as for `Engine.open` and its `session`."""
    engine = Engine.open(
        bundle, num_threads=num_threads, kv_type=kv_type, rounds_activations=rounds_activations, draft=draft
    )
    session = engine.session(adapter=adapter, sampling=sampling)
    return Opened(engine.tokenizer, EngineDecoder(session, speculate), session.identity)


@final
class EngineDecoder:
    """A session of the engine, as conversations use it."""

    def __init__(self, session: Session, speculate: Speculate) -> None:
        self._session = session
        self._speculate = speculate
        self.proposals = Proposals(0, 0)
        """Of the last answer."""

    @property
    def context_length_tokens(self) -> int:
        """Tokens that prompt and answer may have together."""
        return self._session.context.length_tokens

    def check_fits(self, prompt: Sequence[int]) -> None:
        """Errors: `UserError` if the prompt leaves no room for even one token of an answer."""
        self._session.check_fits(prompt)

    def run(self, prompt: Sequence[int], max_new_tokens: int, stop_ids: Sequence[int]) -> Drawn:
        """Draw tokens after `prompt` up to and with a stop token, the limit, or the end of the context.

        Errors: `UserError` from `check_fits`.
        """
        reply = self._session.generate(
            prompt, max_new_tokens=max_new_tokens, stop_ids=stop_ids, speculate=self._speculate
        )
        try:
            for token in reply:
                yield token.id
        finally:
            # Also where the reader has left in the middle: the session is free for the next answer.
            reply.cancel()
            self.proposals = Proposals(reply.usage.proposed_tokens, reply.usage.accepted_tokens)
