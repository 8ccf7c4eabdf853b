from pathlib import Path
from typing import Any

import pytest

from codling.bench import engine_small as module
from codling.bench.engine_log import Key
from codling.bench.engine_small import DIVERGENCE, SMALL, SPEED, check_transformers, measure_small, rounding_divergence
from codling.engine.engine import Engine
from codling.errors import UserError
from tests.bench.engine_tiny import CONFIG, tiny_run


def test_speed_alone_and_divergence(pair: Any, tmp_path: Path) -> None:
    run = tiny_run(tmp_path, [], small=pair.device)
    measure_small(run, SMALL)
    assert [row.key for row in run.log.rows] == [Key(DIVERGENCE, 1), *(Key(SPEED, n) for n in CONFIG.threads)]
    (divergence,) = run.log.rows[0].ours
    assert 1e-7 < divergence < 1e-1


def test_without_a_small_bundle_nothing_is_measured(tmp_path: Path) -> None:
    run = tiny_run(tmp_path, [])
    measure_small(run, SMALL)
    assert run.log.rows == []


def test_float_activations_do_not_diverge_from_themselves(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Engine.open

    def exact(path: Path, num_threads: int, rounds_activations: bool) -> Engine:
        return opened(path, num_threads=num_threads, rounds_activations=False)

    monkeypatch.setattr(Engine, "open", exact)
    assert rounding_divergence(pair.device) == 0


def test_the_peer_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRANSFORMERS_PACKAGES", ("jax", "no_such_torch"))
    with pytest.raises(UserError, match=r"needs no_such_torch: pip install 'codling\[compare\]'"):
        check_transformers()
