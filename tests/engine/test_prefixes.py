"""Sessions that share a beginning: it is run once, and changes no token."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codling.engine.engine import Engine
from codling.engine.reply import Reply
from codling.engine.sampling import Sampling

CONTEXT_LENGTH_TOKENS = 400
PAGE_TOKENS = 64


@pytest.fixture(scope="module")
def bundle(pair: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A longer context than the pair's, so that there are several pages."""
    copy = Path(shutil.copytree(pair.device, tmp_path_factory.mktemp("long") / "device"))
    config = copy / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": CONTEXT_LENGTH_TOKENS}))
    return copy


def words(count: int, seed: int) -> list[int]:
    drawn: list[int] = np.random.default_rng(seed).integers(20, 600, count).tolist()
    return drawn


def ask(engine: Engine, prompt: list[int], adapter: str = "recovery", count: int = 6) -> Reply:
    reply = engine.session(adapter=adapter, sampling=Sampling(0.7, seed=1)).generate(prompt, max_new_tokens=count)
    list(reply)
    return reply


@pytest.mark.parametrize(("length", "pages"), [(63, 0), (64, 0), (65, 1), (200, 3), (256, 3), (257, 4)])
def test_whole_pages_are_found_again_for_the_same_adapter(bundle: Path, length: int, pages: int) -> None:
    with Engine.open(bundle, num_threads=1) as engine:
        first = ask(engine, words(length, 0))
        again = ask(engine, words(length, 0))
        assert (first.usage.cached_tokens, again.usage.cached_tokens) == (0, pages * PAGE_TOKENS)
        assert again.ids == first.ids
        assert ask(engine, words(length, 0), adapter="none").usage.cached_tokens == 0


def test_answers_are_found_again_in_another_session(bundle: Path) -> None:
    with Engine.open(bundle, num_threads=1) as engine:
        prompt = words(60, 0)
        first = ask(engine, prompt, count=80)
        again = ask(engine, [*prompt, *first.ids, 30])
        assert again.usage.cached_tokens == 2 * PAGE_TOKENS


@pytest.mark.parametrize("prefix_cache_bytes", [1 << 16, 1 << 28])
def test_what_is_shared_changes_no_token(bundle: Path, prefix_cache_bytes: int) -> None:
    """Conversations that branch, with and without room for all of them, next to an engine that shares nothing."""
    chance = np.random.default_rng(0)
    with (
        Engine.open(bundle, num_threads=1, prefix_cache_bytes=prefix_cache_bytes) as sharing,
        Engine.open(bundle, num_threads=1, prefix_cache_bytes=0) as alone,
    ):
        known, num_cached = [words(150, 0)], 0
        for turn in range(25):
            before = known[chance.integers(len(known))]
            prompt = [*before[: chance.integers(1, len(before))], *words(int(chance.integers(1, 40)), turn)][-350:]
            adapter = ("recovery", "none")[turn % 2]
            found, expected = ask(sharing, prompt, adapter), ask(alone, prompt, adapter)
            assert found.ids == expected.ids
            assert expected.usage.cached_tokens == 0
            num_cached += found.usage.cached_tokens
            known.append(prompt + found.ids)
        assert num_cached > 0
