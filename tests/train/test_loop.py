import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.artifact.workspace import Progress, SilentReporter, Workspace
from codling.errors import UserError
from codling.model.execution import Execution
from codling.train.checkpoint import Checkpoints
from codling.train.loop import LoopConfig, StepRecord, train
from codling.train.loss import LossSums
from codling.train.metrics import read_metrics
from codling.train.optimizer import OptimizerConfig, build_optimizer
from codling.train.schedule import ScheduleConfig
from codling.train.state import init_state

CONFIG = LoopConfig(
    num_steps=7,
    batch_size_rows=2,
    optimizer=OptimizerConfig(schedule=ScheduleConfig(peak_rate=0.1, warmup_steps=2, final_fraction=0.1)),
    save_every_steps=3,
    log_every_steps=2,
)
PARAMS = {"weight": jnp.asarray([0.5, -0.5])}
SCALE = np.float32(0.3)


class Rows(NamedTuple):
    tokens: np.ndarray


class CountingLoader:
    """Batch i holds i, or NaN where it is told so."""

    def __init__(self, broken_index: int = -1) -> None:
        self.index, self.broken_index = 0, broken_index

    def __next__(self) -> Rows:
        value = np.nan if self.index == self.broken_index else self.index
        self.index += 1
        return Rows(np.array([[value, 1.0], [2.0, value]], np.float32))

    def get_state(self) -> dict[str, Any]:
        return {"next_index": self.index}

    def set_state(self, state: dict[str, Any]) -> None:
        self.index = state["next_index"]


class NotingReporter(SilentReporter):
    """Remembers where the progress began and what was shown."""

    def __init__(self) -> None:
        self.shown: list[Any] = []

    @contextlib.contextmanager
    def progress(self, name: str, total: int, start: int) -> Iterator[Progress]:
        self.shown.append((name, total, start))
        yield self

    def update(self, done: int, **figures: float) -> None:
        self.shown.append((done, set(figures)))


def noisy_loss(params: Any, frozen: Any, rows: Rows, key: jax.Array, execution: Execution) -> LossSums:
    noise = jax.random.normal(key, rows.tokens.shape)
    errors = jnp.square(rows.tokens * params["weight"][None] * frozen - 1.0 + 0.1 * noise)
    return LossSums(jnp.sum(errors), jnp.asarray(errors.size, jnp.float32), {"error": jnp.sum(errors)})


def run(directory: Path, *, reporter: Any = None, broken_index: int = -1) -> Iterator[StepRecord]:
    workspace = Workspace("core", directory, reporter or SilentReporter())
    loader = CountingLoader(broken_index)
    return train(CONFIG, noisy_loss, PARAMS, SCALE, loader, workspace, jax.random.key(0))


def finish(records: Iterator[StepRecord]) -> np.ndarray:
    for record in records:  # noqa: B007
        pass
    return np.asarray(record.params["weight"])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[StepRecord]]:
    directory = tmp_path_factory.mktemp("undisturbed")
    # The parameters of a record are given up at the next step, so they are copied out.
    records = [StepRecord(r.step, r.loss, jax.tree.map(np.array, r.params)) for r in run(directory)]
    return directory, records


@pytest.mark.parametrize("stop", [2, 3, 5])
def test_a_stopped_run_goes_on_to_the_same_bits(
    tmp_path: Path, undisturbed: tuple[Path, list[StepRecord]], stop: int
) -> None:
    stopped = run(tmp_path)
    assert [record.step for record in itertools.islice(stopped, stop)] == list(range(1, stop + 1))
    del stopped
    resumed = list(run(tmp_path))
    directory, records = undisturbed
    assert [record.step for record in resumed] == list(range(stop // 3 * 3 + 1, 8))
    assert [record.loss for record in resumed] == [record.loss for record in records[stop // 3 * 3 :]]
    assert eqx.tree_equal(jax.tree.map(np.asarray, resumed[-1].params), records[-1].params)

    def curve(path: Path) -> list[Any]:
        return [{k: v for k, v in line.items() if k != "tokens_per_s"} for line in read_metrics(path)]

    assert curve(tmp_path) == curve(directory)


def test_every_step_is_yielded_and_every_second_one_and_the_last_are_logged(
    undisturbed: tuple[Path, list[StepRecord]],
) -> None:
    directory, records = undisturbed
    assert [record.step for record in records] == list(range(1, 8))
    assert all(np.isfinite(record.loss) for record in records)
    assert not np.array_equal(records[-1].params["weight"], PARAMS["weight"])
    logged = read_metrics(directory)
    assert [line["step"] for line in logged] == [2, 4, 6, 7]
    assert logged[0]["loss"] == records[1].loss
    assert set(logged[0]) == {"step", "loss", "gradient_norm", "learning_rate", "tokens_per_s", "error"}


def test_a_finished_run_only_hands_its_parameters_out(
    undisturbed: tuple[Path, list[StepRecord]], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, records = undisturbed
    monkeypatch.setattr(CountingLoader, "__next__", None)
    [record] = run(directory)
    assert record.step == CONFIG.num_steps
    assert eqx.tree_equal(jax.tree.map(np.asarray, record.params), records[-1].params)


def test_the_watcher_is_told_where_it_begins_and_how_it_goes(tmp_path: Path) -> None:
    reporter = NotingReporter()
    list(itertools.islice(run(tmp_path, reporter=reporter), 5))
    list(run(tmp_path, reporter=reporter))
    figures = {"loss", "tokens_per_s"}
    assert reporter.shown == [
        *[("core", 7, 0), (2, figures), (4, figures)],
        *[("core", 7, 3), (4, figures), (6, figures), (7, figures)],
    ]


def test_what_is_not_finite_stops_the_stage_and_the_newest_checkpoint_stays(
    tmp_path: Path, undisturbed: tuple[Path, list[StepRecord]]
) -> None:
    with pytest.raises(UserError, match=r"core: loss or gradient is not finite at step 5 .*peak_rate.*kept"):
        finish(run(tmp_path, broken_index=4))
    kept = Checkpoints(tmp_path / "checkpoints").restore(init_state(PARAMS, build_optimizer(CONFIG.optimizer.rule)))
    assert kept is not None
    assert kept.step == 3
    np.testing.assert_array_equal(finish(run(tmp_path)), undisturbed[1][-1].params["weight"])


def test_the_parameters_handed_in_stay_usable(undisturbed: tuple[Path, list[StepRecord]]) -> None:
    np.testing.assert_array_equal(PARAMS["weight"], [0.5, -0.5])
