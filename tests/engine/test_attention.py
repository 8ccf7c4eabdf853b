"""Attention over paged keys and values of every type: the plain loops against NumPy, the other kernels against them."""

from typing import NamedTuple

import ml_dtypes
import numpy as np
import pytest

from codling.engine import _native

FAST = [name for name in _native.runnable_kernels() if name != "scalar"]
TYPES = ["f32", "bf16", "int8"]
TOLERANCE = {"f32": 2e-6, "bf16": 2e-6, "int8": 5e-4}
"""Relative to the largest value: sums in another order; for int8 what is left of queries and weights in two digits."""
LENGTHS = [1, 2, 63, 64, 65, 100, 512, 513, 1100]
"""A page has 64 tokens, a range of pages 512."""


class Case(NamedTuple):
    """Queries of a sequence's last tokens, keys and values of all: [tokens, heads, head_dim]."""

    queries: np.ndarray
    keys: np.ndarray
    values: np.ndarray

    def attend(self, kernels: str, kv_type: str, num_threads: int = 1) -> np.ndarray:
        queries, keys, values = (array.reshape(len(array), -1) for array in self)
        found = _native.attend(kernels, kv_type, self.keys.shape[2], queries, keys, values, num_threads)
        return found.reshape(self.queries.shape)


def random_case(num_tokens: int, length: int, head_dim: int, num_kv_heads: int = 2, group_size: int = 3) -> Case:
    random = np.random.default_rng(length + head_dim)

    def draw(count: int, num_heads: int) -> np.ndarray:
        drawn: np.ndarray = random.normal(size=(count, num_heads, head_dim)).astype(np.float32)
        return drawn

    # Sharp and flat, so that weights are far apart and near each other.
    queries = draw(num_tokens, num_kv_heads * group_size) * random.uniform(0.01, 3, (num_tokens, 1, 1))
    return Case(
        queries.astype(np.float32) / np.float32(head_dim**0.5),
        draw(length, num_kv_heads),
        draw(length, num_kv_heads),
    )


def stored(x: np.ndarray, kv_type: str) -> np.ndarray:
    """What the cache makes of keys or values."""
    if kv_type == "int8":
        largest = np.maximum(np.abs(x).max(axis=2, keepdims=True), np.float32(1e-30))
        rounded: np.ndarray = np.rint(x * (np.float32(127) / largest)) * (largest / np.float32(127))
        return rounded
    return x.astype({"f32": np.float32, "bf16": ml_dtypes.bfloat16}[kv_type]).astype(np.float32)


def reference(case: Case, kv_type: str) -> np.ndarray:
    num_tokens, num_heads = case.queries.shape[:2]
    keys, values = (stored(x, kv_type).astype(np.float64) for x in (case.keys, case.values))
    keys, values = (x.repeat(num_heads // x.shape[1], axis=1) for x in (keys, values))
    scores = np.einsum("tnh,snh->tns", case.queries.astype(np.float64), keys)
    hidden = np.arange(len(keys)) > len(keys) - num_tokens + np.arange(num_tokens)[:, None]
    weights = np.exp(np.where(hidden[:, None], -np.inf, scores - scores.max()))
    attended: np.ndarray = np.einsum("tns,snh->tnh", weights / weights.sum(axis=2, keepdims=True), values)
    return attended


def assert_near(found: np.ndarray, expected: np.ndarray, case: Case, kv_type: str) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[kv_type] * np.abs(case.values).max())


@pytest.mark.parametrize("kv_type", TYPES)
@pytest.mark.parametrize("length", LENGTHS)
def test_plain_loops_give_what_numpy_gives(kv_type: str, length: int) -> None:
    for num_tokens in {1, min(9, length), min(33, length)}:
        case = random_case(num_tokens, length, head_dim=18)
        assert_near(case.attend("scalar", kv_type), reference(case, kv_type), case, kv_type)


@pytest.mark.parametrize("kernels", FAST)
@pytest.mark.parametrize("kv_type", TYPES)
@pytest.mark.parametrize("head_dim", [2, 6, 16, 18, 34, 64, 128, 144])
def test_heads_of_any_size(kernels: str, kv_type: str, head_dim: int) -> None:
    for num_tokens in (1, 4):
        case = random_case(num_tokens, 70, head_dim)
        assert_near(case.attend(kernels, kv_type), case.attend("scalar", kv_type), case, kv_type)


@pytest.mark.parametrize("kernels", FAST)
@pytest.mark.parametrize("kv_type", TYPES)
@pytest.mark.parametrize("group_size", [1, 2, 4, 5, 7, 8])
def test_groups_of_any_size(kernels: str, kv_type: str, group_size: int) -> None:
    for num_tokens in (1, 5):
        case = random_case(num_tokens, 130, 16, 1, group_size)
        assert_near(case.attend(kernels, kv_type), case.attend("scalar", kv_type), case, kv_type)


@pytest.mark.parametrize("kernels", FAST)
@pytest.mark.parametrize("kv_type", TYPES)
@pytest.mark.parametrize("length", LENGTHS)
def test_sequences_of_any_length(kernels: str, kv_type: str, length: int) -> None:
    for num_tokens in {1, min(9, length), min(70, length)}:
        case = random_case(num_tokens, length, 8)
        assert_near(case.attend(kernels, kv_type), reference(case, kv_type), case, kv_type)


@pytest.mark.parametrize("kernels", ["scalar", *FAST])
@pytest.mark.parametrize("kv_type", TYPES)
def test_a_token_depends_on_its_position_only(kernels: str, kv_type: str) -> None:
    case = random_case(600, 600, 10, 1, 2)
    together = case.attend(kernels, kv_type, num_threads=2)
    for first, last in ((0, 1), (62, 66), (500, 520), (511, 512), (590, 599), (599, 600)):
        alone = Case(case.queries[first:last], case.keys[:last], case.values[:last])
        for num_threads in (1, 3):
            np.testing.assert_array_equal(alone.attend(kernels, kv_type, num_threads), together[first:last])


@pytest.mark.parametrize("kernels", ["scalar", *FAST])
@pytest.mark.parametrize("kv_type", TYPES)
@pytest.mark.parametrize("scale", [0.0, 1e-35, 1e30])
def test_extreme_values_are_weighed_as_others(kernels: str, kv_type: str, scale: float) -> None:
    case = random_case(3, 90, 8)
    extreme = case._replace(values=case.values * np.float32(scale))
    expected = reference(extreme, kv_type) if scale != 1e-35 or kv_type != "int8" else np.zeros(case.queries.shape)
    atol = TOLERANCE[kv_type] * np.abs(extreme.values).max()
    np.testing.assert_allclose(extreme.attend(kernels, kv_type), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("kernels", ["scalar", *FAST])
def test_the_largest_whole_numbers_overflow_nothing(kernels: str) -> None:
    ones = np.ones((64, 1, 1024), np.float32)
    case = Case(ones[:1] * -0.5, ones, -ones)
    np.testing.assert_allclose(case.attend(kernels, "int8"), -ones[:1], rtol=1e-4)
