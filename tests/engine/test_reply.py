"""Reading answers: text, ends, cancelling, asyncio, masks."""

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from codling.engine.engine import Engine
from codling.engine.reply import Reply
from codling.engine.sampling import Sampling
from codling.errors import UserError

PROMPT = [30, 40, 50, 60]


@pytest.fixture
def engine(pair: Any) -> Iterator[Engine]:
    with Engine.open(pair.device, num_threads=2) as opened:
        yield opened


def ids_of(reply: Reply) -> list[int]:
    return [token.id for token in reply]


def test_tokens_spell_the_text(engine: Engine) -> None:
    reply = engine.session(sampling=Sampling(1.5)).generate(PROMPT, max_new_tokens=40)
    tokens = list(reply)
    assert reply.ids == [token.id for token in tokens]
    assert reply.text == "".join(token.text for token in tokens) == engine.tokenizer.decode(reply.ids)
    assert reply.finish == "length"
    assert reply.identity == engine.identity(engine.load_adapter())
    assert reply.usage == (4, 0, 40, 0, 0, ())
    assert {(token.logprob, token.best) for token in tokens} == {(None, ())}


def test_log_probabilities_come_when_asked_for(engine: Engine) -> None:
    reply = engine.session(sampling=Sampling(logprobs=3)).generate(PROMPT, max_new_tokens=5)
    ids = list(PROMPT)
    for token in reply:
        logits = engine.session().logits_after(ids).astype(np.float64)
        expected = logits - np.logaddexp.reduce(logits)
        assert [best for best, _ in token.best] == np.argsort(-expected)[:3].tolist()
        assert token.logprob == token.best[0][1] == pytest.approx(expected.max(), rel=1e-5)
        ids.append(token.id)


def test_it_stops_with_a_stop_token_that_is_not_shown(engine: Engine) -> None:
    free = engine.session(sampling=Sampling(1.5)).generate(PROMPT, max_new_tokens=30)
    ids = ids_of(free)
    reply = engine.session(sampling=Sampling(1.5)).generate(PROMPT, max_new_tokens=30, stop_ids=[ids[9]])
    end = ids.index(ids[9])
    assert ids_of(reply) == ids[: end + 1]
    assert reply.finish == "stop"
    assert reply.text == engine.tokenizer.decode(ids[:end])


def test_it_stops_before_a_stop_string(engine: Engine) -> None:
    free = engine.session(sampling=Sampling(1.5)).generate(PROMPT, max_new_tokens=40)
    ids_of(free)
    for begin, end in ((3, 6), (10, 11), (7, 15)):
        stop = free.text[begin:end]
        one = engine.session(sampling=Sampling(1.5))
        reply = one.generate(PROMPT, max_new_tokens=40, stop=(stop, "never to be seen"))
        ids_of(reply)
        assert reply.text == free.text[: free.text.index(stop)]
        assert reply.finish == "stop"
        assert reply.ids == free.ids[: len(reply.ids)]
        # The session goes on from what was read.
        assert ids_of(one.generate(PROMPT + reply.ids, max_new_tokens=2)) == free.ids[len(reply.ids) :][:2]


def test_breaking_off_cancels(engine: Engine) -> None:
    one = engine.session()
    reply = one.generate(PROMPT)
    for _ in reply:
        if len(reply.ids) == 3:
            break
    assert reply.finish == "cancelled"
    assert list(reply) == []
    assert reply.usage.new_tokens == 3
    assert len(ids_of(one.generate(PROMPT, max_new_tokens=4))) == 4


def test_a_reply_that_nobody_holds_is_cancelled(engine: Engine) -> None:
    one = engine.session()
    weak = weakref.ref(one.generate(PROMPT))
    assert weak() is None
    iterator = iter(one.generate(PROMPT))
    next(iterator)
    del iterator
    assert len(ids_of(one.generate(PROMPT, max_new_tokens=4))) == 4


def test_a_mask_that_knows_its_reply_keeps_it_no_longer_alive(engine: Engine) -> None:
    class Guide:
        reply: Reply

        def mask(self, ids: np.ndarray) -> None:
            assert self.reply.finish is None

    guide = Guide()
    guide.reply = engine.session().generate(PROMPT, mask=guide.mask)
    next(iter(guide.reply))
    weak = weakref.ref(guide.reply)
    del guide
    gc.collect()
    assert weak() is None


def test_asyncio_reads_many_at_once(engine: Engine) -> None:
    def begin(seed: int) -> Reply:
        return engine.session(sampling=Sampling(1.0, seed=seed)).generate(PROMPT, max_new_tokens=20)

    async def read(seed: int) -> list[int]:
        return [token.id async for token in begin(seed)]

    async def read_all() -> list[list[int]]:
        return await asyncio.gather(*map(read, range(9)))

    assert asyncio.run(read_all()) == [ids_of(begin(seed)) for seed in range(9)]


def test_a_cancelled_task_cancels_its_reply(engine: Engine) -> None:
    reply = engine.session().generate(PROMPT)

    async def read() -> None:
        async for _ in reply:
            await asyncio.sleep(0)

    async def read_a_little() -> None:
        task = asyncio.create_task(read())
        while len(reply.ids) < 3:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(read_a_little())
    assert reply.finish == "cancelled"


def test_closing_the_engine_ends_answers(pair: Any) -> None:
    engine = Engine.open(pair.device, num_threads=1)
    one = engine.session()
    reply = one.generate(PROMPT)
    next(iterator := iter(reply))
    engine.close()
    assert list(iterator) == []
    assert reply.finish == "cancelled"
    with pytest.raises(UserError, match="closed"):
        one.generate(PROMPT)


def words_of(allowed: np.ndarray) -> np.ndarray:
    packed = np.packbits(allowed, bitorder="little")
    words: np.ndarray = np.pad(packed, (0, -len(packed) % 4)).view(np.uint32)
    return words


@pytest.mark.parametrize("spell", [np.asarray, words_of])
def test_masked_tokens_never_come(engine: Engine, spell: Any) -> None:
    seen = list[list[int]]()

    def mask(ids: np.ndarray) -> Any:
        seen.append(ids.tolist())
        return None if len(ids) % 3 == 2 else spell(np.arange(engine.tokenizer.vocab_size) % 3 == len(ids) % 3)

    reply = engine.session(sampling=Sampling(1.5)).generate(PROMPT, max_new_tokens=12, mask=mask)
    ids = ids_of(reply)
    assert all(id % 3 == place % 3 for place, id in enumerate(ids) if place % 3 < 2)
    assert seen == [ids[:count] for count in range(12)]


def test_a_mask_sees_the_whole_answer_when_the_middle_was_dropped(engine: Engine) -> None:
    lengths = list[int]()

    def mask(ids: np.ndarray) -> None:
        lengths.append(len(ids))

    one = engine.session(on_overflow="drop_middle")
    list(one.generate([30] * 80, max_new_tokens=90, mask=mask))
    assert lengths == list(range(90))


def test_an_error_in_a_mask_ends_its_request_only(engine: Engine) -> None:
    def mask(ids: np.ndarray) -> None:
        if len(ids) == 3:
            raise LookupError("no such rule")

    other = engine.session().generate(PROMPT, max_new_tokens=10)
    next(others := iter(other))
    one = engine.session()
    reply = one.generate(PROMPT, mask=mask)
    with pytest.raises(LookupError, match="no such rule"):
        ids_of(reply)
    assert len(reply.ids) == 3
    assert len([1, *others]) == 10
    assert ids_of(one.generate(PROMPT, max_new_tokens=10)) == other.ids


@pytest.mark.parametrize("given", [np.ones(3, bool), np.ones(600, np.float32), [True] * 600, "all"])
def test_what_is_no_mask_is_refused(engine: Engine, given: Any) -> None:
    reply = engine.session().generate(PROMPT, mask=lambda ids: given)
    with pytest.raises(UserError, match="a mask gives None, a NumPy array of 600 booleans, or one of 19 uint32 words"):
        ids_of(reply)


def test_a_mask_cannot_run_the_engine_that_calls_it(engine: Engine) -> None:
    def mask(ids: np.ndarray) -> None:
        ids_of(engine.session().generate(PROMPT))

    with pytest.raises(UserError, match="a mask cannot wait"):
        ids_of(engine.session().generate(PROMPT, mask=mask))
    with pytest.raises(UserError, match="a mask cannot wait"):
        ids_of(engine.session().generate(PROMPT, mask=lambda ids: engine.close()))
    assert len(ids_of(engine.session().generate(PROMPT, max_new_tokens=4))) == 4
