"""Pages of keys and values: their number and limit, and caches that leave a process and come back."""

import gc
from pathlib import Path

import numpy as np
import pytest

from codling.engine import _native
from codling.errors import UserError
from tests.engine.test_models import CONFIGS, open_model, random_ids, write_model

CONFIG = CONFIGS["grouped"]
IDS = random_ids(CONFIG, 200)
TYPES = ["f32", "bf16", "int8"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("kv"), CONFIG, "4 bits")


def run(model: _native.Model, cache: _native.KvCache, first: int, last: int) -> np.ndarray:
    return model.run([_native.Segment(cache, first, IDS[first:last], None)])


@pytest.mark.parametrize(("kv_type", "value_bytes"), [("f32", 4), ("bf16", 2), ("int8", 1)])
def test_a_page_takes_what_its_type_says(directory: Path, kv_type: str, value_bytes: int) -> None:
    model = open_model(directory, kv_type=kv_type)
    num_scales = 1 if kv_type == "int8" else 0
    per_head = CONFIG.head_dim * value_bytes + num_scales * 4
    assert model.kv_page_bytes == CONFIG.num_layers * CONFIG.num_kv_heads * 2 * 64 * per_head
    assert kv_type in model.kv_layout


def test_caches_take_pages_as_they_grow_and_give_them_back(directory: Path) -> None:
    model = open_model(directory)
    first, second = _native.KvCache(model), _native.KvCache(model)
    for last, num_pages in ((64, 1), (65, 2), (128, 2), (200, 4)):
        run(model, first, first.num_tokens, last)
        assert model.num_kv_pages == num_pages
    run(model, second, 0, 10)
    assert model.num_kv_pages == 5
    # Forgotten tokens free theirs.
    run(model, first, 63, 64)
    assert (model.num_kv_pages, first.num_tokens) == (2, 64)
    del first
    gc.collect()
    assert model.num_kv_pages == 1


def test_a_full_pool_is_an_error_that_changes_nothing(directory: Path) -> None:
    page_bytes = open_model(directory).kv_page_bytes
    model = open_model(directory, kv_limit_bytes=4 * page_bytes - 1)
    small, large = _native.KvCache(model), _native.KvCache(model)
    expected = run(model, small, 0, 70)
    both = [_native.Segment(large, 0, IDS[:40], None), _native.Segment(small, 70, IDS[70:130], None)]
    with pytest.raises(UserError, match=r"full.*192 tokens"):
        model.run(both)
    assert (model.num_kv_pages, small.num_tokens, large.num_tokens) == (2, 70, 0)
    np.testing.assert_array_equal(run(model, small, 69, 70), expected)
    del small, both
    gc.collect()
    run(model, large, 0, 180)
    assert model.num_kv_pages == 3


@pytest.mark.parametrize("kv_type", TYPES)
def test_what_was_exported_goes_on_as_if_it_had_stayed(directory: Path, kv_type: str) -> None:
    model, other = (open_model(directory, kv_type=kv_type) for _ in range(2))
    assert model.kv_layout == other.kv_layout
    for length in (1, 64, 100):
        cache, copy = _native.KvCache(model), _native.KvCache(other)
        run(model, cache, 0, length)
        run(other, copy, 0, 130)
        pages = cache.export_pages()
        assert pages.dtype == np.uint8
        assert len(pages) == -(-length // 64) * model.kv_page_bytes
        copy.import_pages(pages, length)
        np.testing.assert_array_equal(copy.export_pages(), pages)
        np.testing.assert_array_equal(run(other, copy, length, length + 30), run(model, cache, length, length + 30))


def test_no_sequence_leaves_anything_to_the_next(directory: Path) -> None:
    model = open_model(directory)
    cache = _native.KvCache(model)
    run(model, cache, 0, 64)
    del cache
    gc.collect()
    exported = []
    for one in (model, open_model(directory)):
        cache = _native.KvCache(one)
        run(one, cache, 0, 3)
        exported.append(cache.export_pages())
    np.testing.assert_array_equal(exported[0], exported[1])


@pytest.mark.parametrize(
    ("num_pages", "surplus_bytes", "num_tokens"),
    [(0, 0, 1), (1, 0, 0), (1, 0, 65), (1, 1, 64), (2, -1, 65), (0, 0, -1)],
)
def test_pages_that_are_not_those_of_the_tokens_are_refused(
    directory: Path, num_pages: int, surplus_bytes: int, num_tokens: int
) -> None:
    model = open_model(directory)
    cache = _native.KvCache(model)
    expected = run(model, cache, 0, 5)
    with pytest.raises(UserError, match="not the keys and values"):
        cache.import_pages(np.zeros(num_pages * model.kv_page_bytes + surplus_bytes, np.uint8), num_tokens)
    np.testing.assert_array_equal(run(model, cache, 4, 5), expected)


def test_a_cache_of_another_model_is_refused(directory: Path) -> None:
    with pytest.raises(UserError, match="another model"):
        run(open_model(directory), _native.KvCache(open_model(directory)), 0, 5)


def test_unknown_types_are_refused(directory: Path) -> None:
    with pytest.raises(UserError, match=r"'int4'.*int8, bf16 or f32"):
        open_model(directory, kv_type="int4")
