from pathlib import Path

import numpy as np
import pytest

from codling.bench.engine_alone import ALONE, BANDWIDTH, measure_alone
from codling.engine import _native
from tests.bench.engine_tiny import CONFIG, tiny_run


def test_each_group_has_a_row_for_each_number_of_threads(tmp_path: Path) -> None:
    run = tiny_run(tmp_path, [])
    measure_alone(run, ALONE)
    assert [(row.key.group, row.key.num_threads) for row in run.log.rows] == [
        (group, num_threads) for num_threads in CONFIG.threads for group in ALONE
    ]
    for row in run.log.rows:
        assert len(row.ours) == CONFIG.num_rounds
        assert min(row.ours) > 0


def test_what_is_not_asked_for_is_not_measured(tmp_path: Path) -> None:
    run = tiny_run(tmp_path, [])
    measure_alone(run, [BANDWIDTH])
    assert {row.key.group for row in run.log.rows} == {BANDWIDTH}


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1 << 16, (1 << 16) + 67])
@pytest.mark.parametrize("num_threads", [1, 3])
def test_memory_is_really_read(count: int, num_threads: int) -> None:
    values = np.random.default_rng(0).integers(0, 1 << 64, count, np.uint64)
    expected = 2 * int(values.sum(dtype=object) if count else 0)
    assert _native.sum_memory(values, num_threads, 2) == expected % (1 << 64)
