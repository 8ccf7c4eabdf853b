"""What every backend of a conversation does, and that they say the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codling.chat.decoder import Decoder, Opened, Proposals
from codling.chat.session import Session
from codling.commands.open_bundle import Backend, Drawing, KvType, Running, open_bundle
from codling.errors import UserError

EXACT = {
    "jax": Running(Backend.JAX),
    "engine": Running(Backend.ENGINE, threads=1, kv=KvType.F32, rounding=False),
}


def opened(path: Path, backend: str, adapter: str | None = None, **drawing: Any) -> Opened:
    return open_bundle(path, adapter, Drawing(**drawing), EXACT[backend])


@pytest.fixture(params=EXACT)
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def ids_of(count: int) -> list[int]:
    ids: list[int] = np.random.default_rng(0).integers(20, 600, count).tolist()
    return ids


@pytest.mark.parametrize("side", ["server", "device"])
@pytest.mark.parametrize("adapter", [None, "none"])
def test_both_say_the_same(pair: Any, side: str, adapter: str | None) -> None:
    one, other = (opened(getattr(pair, side), backend, adapter) for backend in EXACT)
    assert one.identity == other.identity
    assert one.tokenizer == other.tokenizer
    assert one.decoder.context_length_tokens == other.decoder.context_length_tokens
    prompt = ids_of(30)
    for _ in range(2):
        drawn = list(one.decoder.run(prompt, 9, ()))
        assert drawn == list(other.decoder.run(prompt, 9, ()))
        prompt += drawn


def test_both_are_decoders(pair: Any, backend: str) -> None:
    decoder = opened(pair.device, backend).decoder
    assert isinstance(decoder, Decoder)
    assert decoder.proposals == Proposals(0, 0)


def test_a_seed_draws_the_same_tokens(pair: Any, backend: str) -> None:
    def draw(seed: int) -> list[int]:
        decoder = opened(pair.device, backend, temperature=1.5, seed=seed).decoder
        return list(decoder.run(ids_of(5), 12, ()))

    assert draw(1) == draw(1) != draw(2)


def test_little_mass_leaves_the_likeliest_token(pair: Any, backend: str) -> None:
    greedy = list(opened(pair.device, backend).decoder.run(ids_of(5), 12, ()))
    assert list(opened(pair.device, backend, temperature=2.0, top_p=1e-6).decoder.run(ids_of(5), 12, ())) == greedy


def test_an_answer_that_nobody_reads_to_its_end_leaves_room_for_the_next(pair: Any, backend: str) -> None:
    session = Session(*opened(pair.server, backend)[:2], max_new_tokens=20)
    pieces = session.ask("hi")
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert session.last_answer is not None
    assert session.last_answer.finish_reason == "interrupted"
    assert list(session.ask("again"))


@pytest.mark.parametrize("count", [0, 96, 200])
def test_what_does_not_fit_is_refused(pair: Any, backend: str, count: int) -> None:
    with pytest.raises(UserError, match=rf"empty|{count} tokens.* holds 96"):
        opened(pair.device, backend).decoder.check_fits(ids_of(count))
