"""The one training loop: a generator of step records.

A stage supplies the loss, the loader and its own trainable and frozen parts. The loop goes on from the newest
checkpoint that is whole, saves as it goes, stops before an update that is not finite and after the step in which
SIGTERM comes, and writes metrics as they come. `docs/fault_tolerance.md` says what survives what.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import pydantic
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray, PyTree

from codling.artifact.processes import any_process
from codling.artifact.workspace import Workspace
from codling.config import config
from codling.errors import Terminated, UserError
from codling.model.config import ModelConfig
from codling.model.execution import ComputeConfig
from codling.train.checkpoint import Checkpoints, Keep
from codling.train.course import Course, Loader, Place
from codling.train.diagnose import blame
from codling.train.optimizer import OptimizerConfig, build_optimizer, rates_of_stage
from codling.train.sharding import MeshConfig, build_mesh, check_fit, data_mesh, local_rows, place, place_rows
from codling.train.signals import noting_sigterm
from codling.train.spike import Skip, SpikeConfig, SpikeWatch
from codling.train.state import TrainState, init_state
from codling.train.step import LossFunction, build_gradients, build_step
from codling.train.step_log import StepLog

P = TypeVar("P")


@config
class LoopConfig:
    """How long a stage trains, on how much at a time, and how often it saves."""

    num_steps: int
    batch_size_rows: int
    """Sequences per step, over all devices."""
    optimizer: OptimizerConfig
    compute: ComputeConfig = ComputeConfig()
    mesh: MeshConfig | None = None
    """Layout of the devices; none: rows split over all local devices, or as many as divide the batch."""
    save_every_steps: int = 100
    """A killed stage loses at most this many steps."""
    keep_last: int = 2
    """Checkpoints that stay; more than one, so that a damaged one costs steps and not the stage."""
    keep_every_steps: int | None = None
    """Those of all multiples of this stay too, until the stage is done."""
    log_every_steps: int = 5
    spike: SpikeConfig | None = None
    """When to go back before a loss spike; none: never."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> "LoopConfig":
        if self.save_every_steps < 1 or self.keep_last < 1:
            raise ValueError("save_every_steps and keep_last must be >= 1")
        if self.keep_every_steps is not None and (
            self.keep_every_steps < 1 or self.keep_every_steps % self.save_every_steps
        ):
            raise ValueError(f"keep_every_steps must be a multiple of save_every_steps ({self.save_every_steps})")
        return self


class StepRecord(NamedTuple):
    """What a caller sees of one step."""

    step: int
    loss: float
    params: Any
    skips: tuple[Skip, ...] = ()
    """Loss spikes so far that the run went back from, to train on other data."""


def train(
    config: LoopConfig,
    loss_fn: LossFunction[P],
    params: P,
    frozen: PyTree,
    loader: Loader,
    workspace: Workspace,
    key: PRNGKeyArray,
) -> Iterator[StepRecord]:
    """Train `params` for config.num_steps updates, yielding after each; the last record has the final params.

    After a loss spike the steps yielded go back. Errors: `UserError` when loss or gradient is not finite, or spikes
    once too often; the newest checkpoint is kept. `Terminated` after SIGTERM.
    """
    mesh = _mesh(config)
    rates = rates_of_stage(config.optimizer, config.num_steps)
    frozen = place(frozen, mesh)
    step_fn = build_step(loss_fn, config.optimizer.rule, mesh, config.compute)
    keep = Keep(config.save_every_steps, config.keep_last, config.keep_every_steps)
    directory, watch = workspace.checkpoints_path, SpikeWatch(config.spike)

    def first_state() -> TrainState[P]:
        # Every buffer of the state is given up at each step, so it must be no one else's.
        return place(init_state(_copy(params), build_optimizer(config.optimizer.rule)), mesh)

    with (
        noting_sigterm() as termination,
        Checkpoints(directory, keep, owner=workspace.path.name, warn=workspace.warn) as checkpoints,
    ):
        course = Course(
            workspace.name, checkpoints, loader, watch, first_state, save_every_steps=config.save_every_steps
        )
        state, step = course.resume()
        if step == config.num_steps:
            yield StepRecord(step, float("nan"), state.params, watch.skips)

        with StepLog(workspace, config.num_steps, step, log_every_steps=config.log_every_steps) as log:
            while step < config.num_steps:
                step += 1
                batch = place_rows(next(loader), mesh, config.batch_size_rows)
                state, metrics = step_fn(state, frozen, batch, rates[step - 1], key)
                loss = float(metrics.loss)
                if not metrics.is_finite:
                    blamed = blame(build_gradients(loss_fn, mesh, config.compute), state, frozen, batch, key)
                    raise UserError(
                        f"{workspace.name}: loss or gradient is not finite at step {step} (loss {loss}; {blamed}); "
                        "lower optimizer.schedule.peak_rate, the newest checkpoint is kept"
                    )
                if watch.is_spike(loss):
                    state, step = course.skip_back(step, loss)
                    log.go_back(step, watch.skips)
                    continue
                log.step(step, metrics, rates[step - 1], num_tokens=batch.tokens.size)
                is_terminated = any_process(termination.is_requested)
                if step % config.save_every_steps == 0 or step == config.num_steps or is_terminated:
                    course.save(Place(state, step))
                if is_terminated:
                    checkpoints.wait()
                    raise Terminated(f"{workspace.name}: stopped by SIGTERM after step {step}; run again to go on")
                yield StepRecord(step, loss, state.params, watch.skips)


def rows_of_process(config: LoopConfig, model: ModelConfig, row_length_tokens: int) -> slice:
    """The rows of each batch that this process's devices work on, which are all that its loader need read.

    Errors: `UserError` where the mesh does not divide the machine, the model or the batch.
    """
    mesh = _mesh(config)
    check_fit(mesh, model, config.batch_size_rows, row_length_tokens)
    return local_rows(mesh, config.batch_size_rows)


def _mesh(config: LoopConfig) -> Mesh:
    if config.mesh is not None:
        return build_mesh(config.mesh)
    return data_mesh(config.batch_size_rows)


def _copy(tree: P) -> P:
    copied: P = jax.tree.map(jnp.copy, tree)
    return copied
