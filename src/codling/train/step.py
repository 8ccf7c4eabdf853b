"""One training step: gradients of all rows, wherever they are, and one update.

The loss of a batch is the sum over all its tokens divided by the sum of their weights, whatever device they
are on: never a mean of the devices' means, which would weigh tokens by how many share their device.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax  # type: ignore[import-untyped]
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from codling.model.execution import ComputeConfig, Execution
from codling.model.partition import DATA, Partition
from codling.train.loss import LossSums
from codling.train.optimizer import Rates, Rule, build_optimizer
from codling.train.sharding import shardings_of, splits_rows_only
from codling.train.state import TrainState

P = TypeVar("P")

LossFunction = Callable[[P, PyTree, PyTree, PRNGKeyArray, Execution], LossSums]
"""(params under training, frozen arrays, rows, key, how to run the model) -> sums over these rows."""


class StepMetrics(NamedTuple):
    """What one step has to say."""

    loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    is_finite: Bool[Array, ""]
    """False: loss or gradient was not finite, and the update was not made."""
    num_tokens: Float[Array, ""]
    """Sum of the loss weights."""
    metrics: dict[str, Float[Array, ""]]


Gradients = Callable[[TrainState[P], PyTree, PyTree, PRNGKeyArray], tuple[P, LossSums]]
"""(state, frozen, batch, key) -> gradients of the batch's mean loss, and the sums over all devices."""

Step = Callable[[TrainState[P], PyTree, PyTree, Rates, PRNGKeyArray], tuple[TrainState[P], StepMetrics]]


@lru_cache
def build_step(loss_fn: LossFunction[P], rule: Rule, mesh: Mesh, compute: ComputeConfig) -> Step[P]:
    """Compile-ready step: (state, frozen, batch, rates, key) -> (state, metrics). The state passed in is used up.

    The same arguments give the same step: stages that differ in rates only do not compile again.
    """
    optimizer = build_optimizer(rule)
    gradients_of = build_gradients(loss_fn, mesh, compute)

    def step(
        state: TrainState[P], frozen: PyTree, batch: PyTree, rates: Rates, key: PRNGKeyArray
    ) -> tuple[TrainState[P], StepMetrics]:
        gradients, sums = gradients_of(state, frozen, batch, key)
        norm = optax.tree.norm(gradients)
        loss = sums.value / sums.weight
        is_finite = jnp.isfinite(norm) & jnp.isfinite(loss)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer_state, state.params, rates=rates)
        updated = TrainState(optax.apply_updates(state.params, updates), optimizer_state, state.step + 1)
        kept = jax.tree.map(lambda new, old: jnp.where(is_finite, new, old), updated, state)
        metrics = {name: total / sums.weight for name, total in sums.metrics.items()}
        return kept, StepMetrics(loss, norm, is_finite, sums.weight, metrics)

    return jax.jit(step, donate_argnums=0)


def build_gradients(loss_fn: LossFunction[P], mesh: Mesh, compute: ComputeConfig) -> Gradients[P]:
    """What a step does before its update."""
    build = _by_hand if splits_rows_only(mesh) else _by_compiler
    sums_of = build(loss_fn, mesh, compute)

    def gradients_of(state: TrainState[P], frozen: PyTree, batch: PyTree, key: PRNGKeyArray) -> tuple[P, LossSums]:
        gradients, sums = sums_of(state.params, frozen, batch, jax.random.fold_in(key, state.step))
        return jax.tree.map(lambda gradient: gradient / sums.weight, gradients), sums

    return gradients_of


Sums = Callable[[P, PyTree, PyTree, PRNGKeyArray], tuple[P, LossSums]]
"""(params, frozen, batch, key) -> gradients of the batch's summed loss, and the sums."""


def _by_compiler(loss_fn: LossFunction[P], mesh: Mesh, compute: ComputeConfig) -> Sums[P]:
    """Of all rows at once; the compiler splits the program as parameters and activations are laid out."""
    execution = Execution(compute, Partition(mesh))

    def of_batch(params: P, frozen: PyTree, batch: PyTree, key: PRNGKeyArray) -> tuple[P, LossSums]:
        gradients, sums = _value_and_gradients(loss_fn, execution, params, frozen, batch, key)
        shardings = shardings_of(params, Partition(mesh))
        return jax.tree.map(jax.lax.with_sharding_constraint, gradients, shardings), sums

    return of_batch


def _by_hand(loss_fn: LossFunction[P], mesh: Mesh, compute: ComputeConfig) -> Sums[P]:
    """Of each device's rows by itself, then summed."""
    execution = Execution(compute)

    def of_device(params: P, frozen: PyTree, batch: PyTree, key: PRNGKeyArray) -> tuple[P, LossSums]:
        key = jax.random.fold_in(key, jax.lax.axis_index(DATA))
        summed: tuple[P, LossSums] = jax.lax.psum(  # type: ignore[no-untyped-call]
            _value_and_gradients(loss_fn, execution, params, frozen, batch, key), DATA
        )
        return summed

    rows, everywhere = PartitionSpec(DATA), PartitionSpec()  # type: ignore[no-untyped-call]
    sharded: Sums[P] = jax.shard_map(
        of_device,
        mesh=mesh,
        in_specs=(everywhere, everywhere, rows, everywhere),
        out_specs=everywhere,
        check_vma=False,  # the custom gradient of the head has not the annotations that the check wants
    )
    return sharded


def _value_and_gradients(
    loss_fn: LossFunction[P], execution: Execution, params: P, frozen: PyTree, batch: PyTree, key: PRNGKeyArray
) -> tuple[P, LossSums]:
    def value(params: P) -> tuple[Float[Array, ""], LossSums]:
        sums = loss_fn(params, frozen, batch, key, execution)
        return sums.value, sums

    gradients, sums = jax.grad(value, has_aux=True)(params)
    return gradients, sums
