"""A compression that is stopped, wherever, goes on there, and ends in the same matrices."""

from pathlib import Path

import jax
import numpy as np
import pytest

from codling.data.loader import Batch
from codling.model.transformer import Transformer
from codling.ondevice.compress_blocks import CompressConfig, Compressed, compress_blocks
from codling.ondevice.kept_work import FirstPasses, KeptWork

CONFIG = CompressConfig(target_bits_per_weight=5.0)
NUM_STEPS = 3 * 2


class Stopped(Exception):
    """By the test."""


def batches() -> list[Batch]:
    random = np.random.default_rng(3)
    tokens, targets = random.integers(0, 61, size=(2, 32, 64)).astype(np.int32)
    positions = np.tile(np.arange(64, dtype=np.int32), (32, 1))
    ones = np.ones((32, 64), np.int32)
    return [Batch(tokens, targets, ones.astype(np.float32), ones, positions)]


def compress(model: Transformer, kept: Path | None, stop_at: int | None = None) -> tuple[Compressed, list[int]]:
    heard: list[int] = []

    def hear(num_done: int) -> None:
        heard.append(num_done)
        if num_done == stop_at:
            raise Stopped

    return compress_blocks(model, batches(), CONFIG, jax.random.key(0), hear, kept), heard


def assert_equal(one: Compressed, other: Compressed) -> None:
    assert one.sensitivities == other.sensitivities
    assert one.matrices.keys() == other.matrices.keys()
    for name, matrix in one.matrices.items():
        for ours, theirs in zip(matrix, other.matrices[name], strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("stop_at", [1, 4, 5])
def test_it_goes_on_where_it_was(tiny_model: Transformer, tmp_path: Path, stop_at: int) -> None:
    whole, heard = compress(tiny_model, None)
    assert heard == list(range(1, NUM_STEPS + 1))
    kept = tmp_path / "kept"
    with pytest.raises(Stopped):
        compress(tiny_model, kept, stop_at)
    again, heard = compress(tiny_model, kept)
    assert_equal(again, whole)
    # The first passes are kept together, when all of them are done; a block that was told of was kept before.
    assert heard[0] == (1 if stop_at <= NUM_STEPS - 2 else NUM_STEPS - 1)
    assert not list(kept.glob("partial-*"))


def test_what_is_kept_is_read_and_not_computed_again(tmp_path: Path) -> None:
    found = FirstPasses({"a.weight": (2, 3)}, {"a.weight": np.asarray([0.5, 2.0])}, {"a.weight": {2: 0.1, 4: 0.01}})
    work = KeptWork(tmp_path)
    for compute in (lambda: found, lambda: pytest.fail("computed again")):
        read = work.first_passes(compute)
        assert (read.shapes, read.nats) == (found.shapes, found.nats)
        np.testing.assert_array_equal(read.importance["a.weight"], found.importance["a.weight"])
    assert KeptWork(None).first_passes(lambda: found) is found
