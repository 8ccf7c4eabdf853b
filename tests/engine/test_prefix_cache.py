"""Prompts that were run before: found by tokens and adapter, shared and never changed, dropped when room is short."""

import gc
import itertools
from pathlib import Path

import numpy as np
import pytest

from codling.engine import _native
from codling.errors import UserError
from tests.engine.test_models import CONFIGS, open_model, random_ids, write_model

CONFIG = CONFIGS["grouped"]
IDS = random_ids(CONFIG, 200)
PAGE_TOKENS = 64


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("prefix"), CONFIG, "4 bits")


def run(model: _native.Model, cache: _native.KvCache, first: int, ids: list[int]) -> np.ndarray:
    return model.run([_native.Segment(cache, first, ids[first:], None)])


class Reference:
    """The same rules over a dictionary: (adapter, tokens of a page and all before it) -> a page's number."""

    def __init__(self, most_pages: int) -> None:
        self.most_pages = most_pages
        self.pages: dict[tuple[str, tuple[int, ...]], int] = {}
        self.last_calls: dict[tuple[str, tuple[int, ...]], int] = {}
        self.num_calls = self.num_evicted = 0

    def keys(self, adapter: str, tokens: list[int]) -> list[tuple[str, tuple[int, ...]]]:
        ends = range(PAGE_TOKENS, len(tokens) + 1, PAGE_TOKENS)
        return [(adapter, tuple(tokens[:end])) for end in ends]

    def touch(self, key: tuple[str, tuple[int, ...]]) -> None:
        self.last_calls[key] = self.num_calls

    def find(self, adapter: str, tokens: list[int]) -> list[int]:
        self.num_calls += 1
        known = list(itertools.takewhile(self.pages.__contains__, self.keys(adapter, tokens)))
        for key in known:
            self.touch(key)
        return [self.pages[key] for key in known]

    def insert(self, adapter: str, tokens: list[int], pages: list[int], used: set[int]) -> None:
        self.num_calls += 1
        for key, page in zip(self.keys(adapter, tokens), pages, strict=True):
            if key not in self.pages:
                if len(self.pages) == self.most_pages and not self.evict(used):
                    return
                self.pages[key] = page
            self.touch(key)

    def evict(self, used: set[int]) -> bool:
        def is_leaf(key: tuple[str, tuple[int, ...]]) -> bool:
            return not any(
                other[0] == key[0] and other[1][: len(key[1])] == key[1] for other in self.pages if other != key
            )

        unused = [
            key
            for key, page in self.pages.items()
            if page not in used and is_leaf(key) and self.last_calls[key] != self.num_calls
        ]
        if not unused:
            return False
        del self.pages[min(unused, key=self.last_calls.__getitem__)]
        self.num_evicted += 1
        return True


class User:
    """A live cache: what it holds, and the numbers of its pages."""

    def __init__(self, cache: _native.KvCache, adapter: str, tokens: list[int], pages: list[int]) -> None:
        self.cache, self.adapter, self.tokens, self.pages = cache, adapter, tokens, pages


def content(adapter: str, tokens: list[int], page_bytes: int) -> np.ndarray:
    """Pages that tell whose they are."""
    ends = range(PAGE_TOKENS, len(tokens) + 1, PAGE_TOKENS)
    seeds = [hash((adapter, tuple(tokens[:end]))) % (1 << 32) for end in ends]
    pages = [np.random.default_rng(seed).integers(0, 256, page_bytes).astype(np.uint8) for seed in seeds]
    return np.concatenate([np.zeros(0, np.uint8), *pages])


@pytest.mark.parametrize("most_pages", [0, 1, 4, 9])
@pytest.mark.parametrize("seed", range(3))
def test_any_sequence_of_calls_gives_what_a_dictionary_gives(directory: Path, most_pages: int, seed: int) -> None:
    model, random = open_model(directory), np.random.default_rng(seed)
    page_bytes = model.kv_page_bytes
    prefixes = _native.PrefixCache(model, most_pages * page_bytes + page_bytes // 2)
    reference, numbers, users = Reference(most_pages), itertools.count(), list[User]()

    for _ in range(120):
        # A page's tokens are all alike, so that beginnings are shared.
        tokens: list[int] = random.integers(0, 2, random.integers(0, 4)).repeat(PAGE_TOKENS).tolist()
        adapter = str(random.choice(["", "a"]))
        match random.integers(0, 4):
            case 0 if users:
                users.pop(int(random.integers(len(users))))
            case 1:
                cache = _native.KvCache(model)
                cache.import_pages(content(adapter, tokens, page_bytes), len(tokens))
                users.append(User(cache, adapter, tokens, [next(numbers) for _ in range(len(tokens) // PAGE_TOKENS)]))
            case 2 if users:
                user = users[int(random.integers(len(users)))]
                prefixes.insert(user.cache, user.adapter, user.tokens)
                used = {page for one in users for page in one.pages}
                if user.tokens and most_pages:
                    reference.insert(user.adapter, user.tokens, user.pages, used)
            case _:
                cache = _native.KvCache(model)
                # Less than a page more finds nothing more.
                num_found = prefixes.find(cache, adapter, tokens + [0] * int(random.integers(PAGE_TOKENS)))
                pages = reference.find(adapter, tokens)
                assert num_found == cache.num_tokens == len(pages) * PAGE_TOKENS
                np.testing.assert_array_equal(cache.export_pages(), content(adapter, tokens[:num_found], page_bytes))
                users.append(User(cache, adapter, tokens[:num_found], pages))
        assert (prefixes.num_pages, prefixes.num_evicted_pages) == (len(reference.pages), reference.num_evicted)
    assert model.num_kv_pages == len(set(reference.pages.values()) | {page for one in users for page in one.pages})


@pytest.mark.parametrize("kv_type", ["f32", "bf16", "int8"])
def test_what_is_found_gives_what_running_it_gives(directory: Path, kv_type: str) -> None:
    model = open_model(directory, kv_type=kv_type)
    prefixes, first = _native.PrefixCache(model, 1 << 30), _native.KvCache(model)
    expected = run(model, first, 0, IDS)
    prefixes.insert(first, "", IDS)
    for num_same in (200, 130, 128, 100, 63):
        ids = IDS[:num_same] + [(token + 1) % CONFIG.vocab_size for token in IDS[num_same:]]
        cache = _native.KvCache(model)
        # One token is left to be run.
        num_found = prefixes.find(cache, "", ids[:-1])
        assert num_found == num_same // PAGE_TOKENS * PAGE_TOKENS
        found = run(model, cache, num_found, ids)
        np.testing.assert_array_equal(found, run(model, _native.KvCache(model), 0, ids))
        assert num_same < 200 or np.array_equal(found, expected)
    assert (prefixes.num_asked_tokens, prefixes.num_found_tokens) == (5 * 199, 192 + 128 + 128 + 64)


def test_pages_that_are_shared_are_never_written(directory: Path) -> None:
    model = open_model(directory)
    prefixes, first = _native.PrefixCache(model, 1 << 30), _native.KvCache(model)
    run(model, first, 0, IDS[:192])
    before = first.export_pages()
    prefixes.insert(first, "", IDS[:192])
    second = _native.KvCache(model)
    assert prefixes.find(second, "", IDS) == 192
    assert model.num_kv_pages == 3
    other = [*IDS[:100], *IDS[:80]]
    # The first page is shared still; the other two are its own.
    expected = run(model, _native.KvCache(model), 0, other)
    np.testing.assert_array_equal(run(model, second, 100, other), expected)
    gc.collect()
    assert model.num_kv_pages == 5
    np.testing.assert_array_equal(first.export_pages(), before)


def test_a_full_pool_takes_back_what_nobody_uses(directory: Path) -> None:
    page_bytes = open_model(directory).kv_page_bytes
    model = open_model(directory, kv_limit_bytes=4 * page_bytes)
    prefixes, first = _native.PrefixCache(model, 1 << 30), _native.KvCache(model)
    run(model, first, 0, IDS[:192])
    prefixes.insert(first, "", IDS[:192])
    with pytest.raises(UserError, match="full"):
        run(model, _native.KvCache(model), 0, IDS[:100])
    del first
    gc.collect()
    second = _native.KvCache(model)
    run(model, second, 0, IDS[:150])
    assert (prefixes.num_pages, prefixes.num_evicted_pages, model.num_kv_pages) == (1, 2, 4)
    del prefixes
    gc.collect()
    assert model.num_kv_pages == 3
