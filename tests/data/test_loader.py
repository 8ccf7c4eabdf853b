import itertools
import json
from collections.abc import Sequence

import numpy as np
import pytest

from codling.data.loader import Batch, BatchLoader, build_loader, iterate_once
from codling.data.mixture import MixedRows, MixtureWeights
from codling.data.pack import PackedRows
from codling.data.tokens import tokenize_documents

LENGTH = 32
BATCH_SIZE_ROWS = 3
WEIGHTS = MixtureWeights(share_by_kind={"a": 0.7, "b": 0.3})


def make_rows(seed: int = 0, *, split: bool = True) -> dict[str, PackedRows]:
    texts = {kind: [f"{kind} says {number * 37 % 101}. " for number in range(40)] for kind in ("a", "b")}
    return {
        kind: PackedRows(
            tokenize_documents(texts[kind], lambda text: list(text.encode())),
            row_length_tokens=LENGTH,
            seed=seed,
            split_documents=split,
        )
        for kind in texts
    }


def make_loader(seed: int = 0, start_step: int = 0) -> BatchLoader:
    return build_loader(make_rows(seed), WEIGHTS, batch_size_rows=BATCH_SIZE_ROWS, start_step=start_step)


def take(loader: BatchLoader, num_steps: int) -> list[Batch]:
    return list(itertools.islice(loader, num_steps))


def assert_equal(batches: Sequence[Batch], others: Sequence[Batch]) -> None:
    for batch, other in zip(batches, others, strict=True):
        for array, expected in zip(batch, other, strict=True):
            np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("stop", [0, 1, 4, 17, 29])
def test_a_stopped_run_resumes_with_the_batches_of_an_undisturbed_one(stop: int) -> None:
    with make_loader() as loader:
        undisturbed = take(loader, 30)
    with make_loader() as loader:
        before = take(loader, stop)
        saved = json.dumps(loader.get_state()).encode()
    with make_loader() as loader:
        take(loader, 2)
        loader.set_state(json.loads(saved))
        assert_equal(before + take(loader, 30 - stop), undisturbed)
    with make_loader(start_step=stop) as loader:
        assert_equal(take(loader, 30 - stop), undisturbed[stop:])


def test_batches_are_the_rows_of_the_mixture_in_order() -> None:
    rows = MixedRows(make_rows(), WEIGHTS)
    with make_loader() as loader:
        for step, batch in enumerate(take(loader, 20)):
            for place in range(BATCH_SIZE_ROWS):
                expected = rows[step * BATCH_SIZE_ROWS + place]
                for array, row in zip(batch, expected, strict=True):
                    np.testing.assert_array_equal(array[place], row)
            assert all(array.shape == (BATCH_SIZE_ROWS, LENGTH) for array in batch)


def test_seed_decides_the_batches() -> None:
    runs = []
    for seed in (0, 0, 1):
        with make_loader(seed) as loader:
            runs.append(take(loader, 10))
    assert_equal(runs[0], runs[1])
    assert any((a.tokens != b.tokens).any() for a, b in zip(runs[0], runs[2], strict=True))


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("batch_size_rows", [1, 4, 1000])
def test_an_evaluation_sees_every_position_once(batch_size_rows: int, split: bool) -> None:
    rows = make_rows(split=split)["a"]
    batches = list(iterate_once(rows, batch_size_rows))
    assert {batch.tokens.shape for batch in batches} == {(batch_size_rows, LENGTH)}
    assert sum(batch.loss_weights.sum() for batch in batches) == rows.positions_per_epoch
