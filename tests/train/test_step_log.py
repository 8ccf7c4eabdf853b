from pathlib import Path

import jax.numpy as jnp
import numpy as np

from codling.artifact.workspace import SilentReporter, Workspace
from codling.train.metrics import read_metrics
from codling.train.optimizer import Rates
from codling.train.spike import Skip
from codling.train.step import StepMetrics
from codling.train.step_log import StepLog

RATES = Rates(np.float32(0.5), np.float32(0.0))


def metrics(loss: float) -> StepMetrics:
    return StepMetrics(jnp.asarray(loss), jnp.ones(()), jnp.asarray(True), jnp.ones(()), {"nll": jnp.asarray(loss)})


def run(directory: Path, steps: range, resume_step: int = 0) -> None:
    with StepLog(Workspace("core", directory, SilentReporter()), 7, resume_step, log_every_steps=3) as log:
        for step in steps:
            log.step(step, metrics(step / 2), RATES, num_tokens=10)


def test_every_third_step_and_the_last_are_recorded(tmp_path: Path) -> None:
    run(tmp_path, range(1, 8))
    records = read_metrics(tmp_path)
    assert [(record["step"], record["loss"], record["nll"]) for record in records] == [
        (3, 1.5, 1.5),
        (6, 3.0, 3.0),
        (7, 3.5, 3.5),
    ]
    assert all(record["tokens_per_s"] > 0 and record["learning_rate"] == 0.5 for record in records)


def test_what_came_after_a_skip_goes_and_the_skip_is_recorded_once(tmp_path: Path) -> None:
    earlier, first, second = Skip(0, 2, 9.0, 1.0), Skip(3, 5, 9.0, 1.0), Skip(3, 7, 9.0, 1.0)
    with StepLog(Workspace("core", tmp_path, SilentReporter()), 7, 0, log_every_steps=3) as log:
        for step in range(1, 4):
            log.step(step, metrics(1.0), RATES, num_tokens=10)
        log.go_back(3, (earlier, first))
        for step in range(4, 7):
            log.step(step, metrics(2.0), RATES, num_tokens=10)
        log.go_back(3, (earlier, first, second))
    told = [(record["step"], record.get("spike_step")) for record in read_metrics(tmp_path)]
    assert told == [(3, None), (4, 5), (4, 7)]
    # A run that is killed here goes on from step 3, and comes to the same skips again.
    run(tmp_path, range(4, 8), resume_step=3)
    assert [record["step"] for record in read_metrics(tmp_path)] == [3, 6, 7]
