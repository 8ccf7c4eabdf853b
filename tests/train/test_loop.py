import contextlib
import itertools
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.artifact.workspace import Progress, SilentReporter, Workspace
from codling.config import from_dict, to_dict
from codling.errors import Terminated, UserError
from codling.model.execution import Execution
from codling.train.checkpoint import Checkpoints, Keep
from codling.train.loop import LoopConfig, StepRecord, train
from codling.train.loss import LossSums
from codling.train.metrics import read_metrics
from codling.train.optimizer import OptimizerConfig, build_optimizer
from codling.train.schedule import ScheduleConfig
from codling.train.sharding import MeshConfig, build_mesh
from codling.train.spike import Skip, SpikeConfig
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
    """Batch i holds i, or what it is told to."""

    def __init__(self, changed: dict[int, float] | None = None) -> None:
        self.index, self.changed = 0, changed or {}

    def __next__(self) -> Rows:
        value = self.changed.get(self.index, self.index)
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
        self.warnings: list[str] = []

    @contextlib.contextmanager
    def progress(self, name: str, total: int, start: int) -> Iterator[Progress]:
        self.shown.append((name, total, start))
        yield self

    def update(self, done: int, **figures: float) -> None:
        self.shown.append((done, set(figures)))

    def warn(self, name: str, message: str) -> None:
        self.warnings.append(message)


def noisy_loss(params: Any, frozen: Any, rows: Rows, key: jax.Array, execution: Execution) -> LossSums:
    noise = jax.random.normal(key, rows.tokens.shape)
    errors = jnp.square(rows.tokens * params["weight"][None] * frozen - 1.0 + 0.1 * noise)
    return LossSums(jnp.sum(errors), jnp.asarray(errors.size, jnp.float32), {"error": jnp.sum(errors)})


def run(
    directory: Path, config: LoopConfig = CONFIG, *, reporter: Any = None, changed: dict[int, float] | None = None
) -> Iterator[StepRecord]:
    workspace = Workspace("core", directory, reporter or SilentReporter())
    return train(config, noisy_loss, PARAMS, SCALE, CountingLoader(changed), workspace, jax.random.key(0))


def take(records: Iterator[StepRecord], count: int) -> list[int]:
    """Some steps of a run, which is then closed, as at the end of a process."""
    steps = [record.step for record in itertools.islice(records, count)]
    records.close()  # type: ignore[attr-defined]
    return steps


def copied(records: Iterator[StepRecord]) -> list[StepRecord]:
    """The parameters of a record are given up at the next step, so they are copied out."""
    return [record._replace(params=jax.tree.map(np.array, record.params)) for record in records]


def curve(path: Path) -> list[Any]:
    return [{k: v for k, v in line.items() if k != "tokens_per_s"} for line in read_metrics(path)]


def finish(records: Iterator[StepRecord]) -> np.ndarray:
    for record in records:  # noqa: B007
        pass
    return np.asarray(record.params["weight"])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[StepRecord]]:
    directory = tmp_path_factory.mktemp("undisturbed")
    return directory, copied(run(directory))


@pytest.mark.parametrize("stop", [2, 3, 5])
def test_a_stopped_run_goes_on_to_the_same_bits(
    tmp_path: Path, undisturbed: tuple[Path, list[StepRecord]], stop: int
) -> None:
    assert take(run(tmp_path), stop) == list(range(1, stop + 1))
    resumed = list(run(tmp_path))
    directory, records = undisturbed
    assert [record.step for record in resumed] == list(range(stop // 3 * 3 + 1, 8))
    assert [record.loss for record in resumed] == [record.loss for record in records[stop // 3 * 3 :]]
    assert eqx.tree_equal(jax.tree.map(np.asarray, resumed[-1].params), records[-1].params)
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
    take(run(tmp_path, reporter=reporter), 5)
    list(run(tmp_path, reporter=reporter))
    figures = {"loss", "tokens_per_s"}
    assert reporter.shown == [
        *[("core", 7, 0), (2, figures), (4, figures)],
        *[("core", 7, 3), (4, figures), (6, figures), (7, figures)],
    ]


def open_checkpoints(directory: Path) -> Checkpoints:
    return Checkpoints(directory / "checkpoints", Keep(1), owner=directory.name, warn=lambda _: None)


def test_what_is_not_finite_stops_the_stage_and_the_newest_checkpoint_stays(
    tmp_path: Path, undisturbed: tuple[Path, list[StepRecord]]
) -> None:
    blamed = "not finite is the gradient of weight"
    with pytest.raises(UserError, match=rf"core: loss or gradient is not finite at step 5 .*{blamed}.*peak_rate.*kept"):
        finish(run(tmp_path, changed={4: np.nan}))
    with open_checkpoints(tmp_path) as checkpoints:
        kept = checkpoints.restore(init_state(PARAMS, build_optimizer(CONFIG.optimizer.rule)))
    assert kept is not None
    assert kept.step == 3
    np.testing.assert_array_equal(finish(run(tmp_path)), undisturbed[1][-1].params["weight"])


@pytest.mark.parametrize("num_devices", [(2, 1), (1, 2)], ids=["fewer", "more"])
def test_a_run_goes_on_with_another_number_of_devices(
    tmp_path: Path, num_devices: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def use(count: int) -> None:
        mesh = build_mesh(MeshConfig(data=count), jax.devices()[:count])
        monkeypatch.setattr("codling.train.loop.data_mesh", lambda _: mesh)

    use(num_devices[0])
    before = copied(itertools.islice(run(tmp_path), 3))
    use(num_devices[1])
    [first, *_, last] = [
        (record.step, set(record.params["weight"].devices()), np.asarray(record.params["weight"]))
        for record in run(tmp_path)
    ]
    assert (first[0], last[0]) == (4, 7)
    assert len(first[1]) == num_devices[1]
    # One update away from the very parameters of before.
    assert 0 < np.abs(first[2] - before[-1].params["weight"]).max() < 0.2


def test_a_damaged_checkpoint_is_named_and_the_run_ends_in_the_same_bits(
    tmp_path: Path, undisturbed: tuple[Path, list[StepRecord]]
) -> None:
    take(run(tmp_path), 6)
    for path in (tmp_path / "checkpoints" / "6" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-3])
    reporter = NotingReporter()
    np.testing.assert_array_equal(finish(run(tmp_path, reporter=reporter)), undisturbed[1][-1].params["weight"])
    [warning] = reporter.warnings
    assert "checkpoint 6 is damaged" in warning
    assert "going on from checkpoint 3" in warning
    assert curve(tmp_path) == curve(undisturbed[0])


def test_a_checkpoint_of_other_parameters_is_refused(tmp_path: Path) -> None:
    take(run(tmp_path), 3)
    workspace = Workspace("core", tmp_path, SilentReporter())
    other = {"weight": jnp.zeros(2), "bias": jnp.zeros(1)}
    with pytest.raises(UserError, match=r"params\.bias is float32\[1\] here and missing there"):
        next(train(CONFIG, noisy_loss, other, SCALE, CountingLoader(), workspace, jax.random.key(0)))


def terminate_after(records: Iterator[StepRecord], step: int) -> None:
    for record in records:
        if record.step == step:
            os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_is_obeyed_after_the_running_step_and_nothing_is_lost(
    tmp_path: Path, undisturbed: tuple[Path, list[StepRecord]]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated, match="core: stopped by SIGTERM after step 5; run again to go on"):
        terminate_after(run(tmp_path), 4)
    assert signal.getsignal(signal.SIGTERM) == before
    resumed = list(run(tmp_path))
    assert [record.step for record in resumed] == [6, 7]
    np.testing.assert_array_equal(resumed[-1].params["weight"], undisturbed[1][-1].params["weight"])
    assert curve(tmp_path) == curve(undisturbed[0])


SPIKES = replace(
    CONFIG,
    num_steps=14,
    save_every_steps=4,
    log_every_steps=1,
    # No learning: the loss of a step says which batch it saw.
    optimizer=OptimizerConfig(schedule=ScheduleConfig(peak_rate=1e-9)),
    spike=SpikeConfig(threshold_nats=50.0, window_steps=3, max_skips=2),
)
"""Batches 6 and 10 are bad: the first is met at step 7; the run goes back to step 4, and meets the second at step 8,
for which it goes back to step 4 again."""
CHANGED = {index: float(index % 3) for index in range(40)} | {6: 99.0, 10: 99.0}
FIRST_SKIP, SECOND_SKIP = (4, 7), (4, 8)


@pytest.fixture(scope="module")
def spiky(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[StepRecord]]:
    directory = tmp_path_factory.mktemp("spiky")
    return directory, copied(run(directory, SPIKES, changed=CHANGED))


def skipped(skips: tuple[Skip, ...]) -> list[tuple[int, int]]:
    return [(skip.resumed_step, skip.spike_step) for skip in skips]


def test_a_spike_is_skipped_and_so_is_the_data_before_it(spiky: tuple[Path, list[StepRecord]]) -> None:
    directory, records = spiky
    assert [record.step for record in records] == [*range(1, 7), *range(5, 8), *range(5, 15)]
    assert skipped(records[-1].skips) == [FIRST_SKIP, SECOND_SKIP]
    logged = read_metrics(directory)
    assert [line["step"] for line in logged if "loss" in line] == list(range(1, 15))
    told = [line for line in logged if "spike_step" in line]
    assert [(line["step"], line["resumed_step"], line["spike_step"]) for line in told] == [(5, 4, 7), (5, 4, 8)]
    assert all(line["spike_loss"] > line["median_loss"] + 50 for line in told)


def test_the_data_after_a_skip_are_those_after_the_spike(tmp_path: Path) -> None:
    seen: list[int] = []

    class Noting(CountingLoader):
        def __next__(self) -> Rows:
            seen.append(self.index)
            return super().__next__()

    workspace = Workspace("core", tmp_path, SilentReporter())
    finish(train(SPIKES, noisy_loss, PARAMS, SCALE, Noting(CHANGED), workspace, jax.random.key(0)))
    assert seen == list(range(len(seen)))
    assert len(seen) == SPIKES.num_steps + (7 - 4) + (8 - 4)


@pytest.mark.parametrize("stop", [3, 5, 8, 12, 14, 17])
def test_a_run_that_skips_can_be_stopped_anywhere(
    tmp_path: Path, spiky: tuple[Path, list[StepRecord]], stop: int
) -> None:
    take(run(tmp_path, SPIKES, changed=CHANGED), stop)
    *_, last = copied(run(tmp_path, SPIKES, changed=CHANGED))
    assert eqx.tree_equal(last.params, spiky[1][-1].params)
    assert last.skips == spiky[1][-1].skips
    assert curve(tmp_path) == curve(spiky[0])


def test_a_checkpoint_that_sigterm_left_does_not_change_what_is_skipped(
    tmp_path: Path, spiky: tuple[Path, list[StepRecord]]
) -> None:
    for step in (4, 5):
        with pytest.raises(Terminated):
            terminate_after(run(tmp_path, SPIKES, changed=CHANGED), step)
    *_, last = copied(run(tmp_path, SPIKES, changed=CHANGED))
    assert eqx.tree_equal(last.params, spiky[1][-1].params)
    assert curve(tmp_path) == curve(spiky[0])


def test_a_spike_before_the_first_checkpoint_goes_back_to_the_beginning(tmp_path: Path) -> None:
    config = replace(SPIKES, save_every_steps=100)
    records = copied(run(tmp_path, config, changed=CHANGED))
    assert skipped(records[-1].skips) == [(0, 7), (0, 4)]
    assert [line["step"] for line in read_metrics(tmp_path) if "loss" in line] == list(range(1, 15))


def test_one_spike_too_many_stops_the_stage(tmp_path: Path) -> None:
    config = replace(SPIKES, spike=SpikeConfig(threshold_nats=50.0, window_steps=3, max_skips=1))
    with pytest.raises(UserError, match=r"core: loss .* at step 8 is a spike .*1 were skipped.*spike\.max_skips.*kept"):
        finish(run(tmp_path, config, changed=CHANGED))
    assert (tmp_path / "checkpoints" / "4").is_dir()


def test_the_settings_are_read_and_checked() -> None:
    assert from_dict(LoopConfig, to_dict(SPIKES), source="x") == SPIKES
    with pytest.raises(ValueError, match="multiple of save_every_steps"):
        replace(CONFIG, keep_every_steps=4)
    with pytest.raises(ValueError, match="keep_last must be >= 1"):
        replace(CONFIG, keep_last=0)


def test_the_parameters_handed_in_stay_usable(undisturbed: tuple[Path, list[StepRecord]]) -> None:
    np.testing.assert_array_equal(PARAMS["weight"], [0.5, -0.5])
