"""The one training loop: a generator of step records.

A stage supplies the loss, the loader and its own trainable and frozen parts. The loop goes on from the newest
checkpoint, saves as it goes, stops before an update that is not finite, and writes metrics as they come.
"""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray, PyTree

from codling.artifact.workspace import Workspace
from codling.config import config
from codling.errors import UserError
from codling.model.config import ModelConfig
from codling.model.execution import ComputeConfig
from codling.train.checkpoint import Checkpoints
from codling.train.metrics import MetricsWriter
from codling.train.optimizer import OptimizerConfig, build_optimizer, rates_of_stage
from codling.train.sharding import MeshConfig, build_mesh, check_fit, data_mesh, local_rows, place, place_rows
from codling.train.state import init_state
from codling.train.step import LossFunction, build_step

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
    log_every_steps: int = 5


@runtime_checkable
class Loader(Protocol):
    """An endless iterator of batches that can say where it is and go there."""

    def __next__(self) -> Any: ...

    def get_state(self) -> dict[str, Any]:
        """Where it is, as JSON values."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Go to a place that `get_state` named."""


class StepRecord(NamedTuple):
    """What a caller sees of one step."""

    step: int
    loss: float
    params: Any


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

    Errors: `UserError` when loss or gradient is not finite; the newest checkpoint is kept.
    """
    mesh = _mesh(config)
    rates = rates_of_stage(config.optimizer, config.num_steps)
    # Every buffer of the state is given up at each step, so it must be no one else's.
    state = place(init_state(_copy(params), build_optimizer(config.optimizer.rule)), mesh)
    frozen = place(frozen, mesh)
    step_fn = build_step(loss_fn, config.optimizer.rule, mesh, config.compute)
    checkpoints = Checkpoints(workspace.checkpoints_path)
    restored = checkpoints.restore(state)
    if restored is not None:
        state = restored.state
        loader.set_state(restored.loader_state)
    first_step = 0 if restored is None else restored.step
    if first_step == config.num_steps:
        yield StepRecord(first_step, float("nan"), state.params)

    progress_of_stage = workspace.progress(config.num_steps, first_step)
    with MetricsWriter(workspace.path, first_step) as writer, progress_of_stage as progress:
        num_tokens, since = 0.0, time.perf_counter()
        for step in range(first_step + 1, config.num_steps + 1):
            batch = next(loader)
            state, metrics = step_fn(
                state, frozen, place_rows(batch, mesh, config.batch_size_rows), rates[step - 1], key
            )
            if not metrics.is_finite:
                raise UserError(
                    f"{workspace.name}: loss or gradient is not finite at step {step} "
                    f"(loss {float(metrics.loss)}); lower optimizer.schedule.peak_rate, "
                    "the newest checkpoint is kept"
                )
            num_tokens += batch.tokens.size * jax.process_count()
            if step % config.log_every_steps == 0 or step == config.num_steps:
                elapsed = time.perf_counter() - since
                figures = {name: float(value) for name, value in metrics.metrics.items()}
                writer.write(
                    step,
                    loss=float(metrics.loss),
                    gradient_norm=float(metrics.gradient_norm),
                    learning_rate=float(rates[step - 1].learning),
                    tokens_per_s=num_tokens / elapsed,
                    **figures,
                )
                progress.update(step, loss=float(metrics.loss), tokens_per_s=num_tokens / elapsed)
                num_tokens, since = 0.0, time.perf_counter()
            if step % config.save_every_steps == 0 or step == config.num_steps:
                checkpoints.save(step, state, loader.get_state())
            yield StepRecord(step, float(metrics.loss), state.params)


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
