from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from codling.data.loader import Batch
from codling.model.dropout import Dropout
from codling.model.execution import ComputeConfig, Execution
from codling.model.transformer import Transformer
from codling.train.adamw import AdamWConfig
from codling.train.loss import LossSums
from codling.train.objective import next_token
from codling.train.optimizer import Rates, build_optimizer
from codling.train.sharding import MeshConfig, build_mesh, place, place_rows, replicate
from codling.train.state import TrainState, init_state
from codling.train.step import StepMetrics, build_gradients, build_step

TOLERANCE = 1e-5
KEY = jax.random.key(0)
RULE, RATES = AdamWConfig(), Rates(np.float32(0.01), np.float32(0.001))

Params = dict[str, Any]


class Rows(eqx.Module):
    """Something to fit: targets, and how much each row counts."""

    inputs: Any
    targets: Any
    weights: Any


RANDOM = np.random.default_rng(0)
ROWS = Rows(
    RANDOM.normal(size=(4, 3)).astype(np.float32),
    RANDOM.normal(size=4).astype(np.float32),
    # The first device has a fifth of the weight of the second.
    np.array([1, 0, 2, 3], np.float32),
)
PARAMS = {"weight": np.array([0.3, -0.2, 0.1], np.float32)}


def squared_error(params: Params, frozen: Any, rows: Rows, key: jax.Array, execution: Execution) -> LossSums:
    errors = jnp.square(rows.inputs @ params["weight"] + frozen - rows.targets)
    noise = jax.random.uniform(key) * jnp.sum(rows.weights)
    return LossSums(jnp.sum(errors * rows.weights), jnp.sum(rows.weights), {"noise": noise})


def make_mesh(num_devices: int) -> Mesh:
    return build_mesh(MeshConfig(data=num_devices), jax.devices()[:num_devices])


def run(
    loss_fn: Any, params: Any, frozen: Any, batches: list[Any], num_devices: int = 2
) -> tuple[TrainState[Any], list[StepMetrics]]:
    mesh, collected = make_mesh(num_devices), []
    state = replicate(init_state(jax.tree.map(jnp.array, params), build_optimizer(RULE)), mesh)
    step = build_step(loss_fn, RULE, mesh, ComputeConfig())
    for batch in batches:
        state, metrics = step(state, replicate(frozen, mesh), place_rows(batch, mesh, 4), RATES, KEY)
        collected.append(metrics)
    return state, collected


def assert_close(left: Any, right: Any) -> None:
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=TOLERANCE)


def test_two_devices_make_the_step_of_one_though_their_weights_are_uneven() -> None:
    one, [metrics_of_one, _] = run(squared_error, PARAMS, np.float32(0), [ROWS, ROWS], num_devices=1)
    two, [metrics_of_two, _] = run(squared_error, PARAMS, np.float32(0), [ROWS, ROWS])
    assert_close(one, two)
    assert_close(metrics_of_one[:4], metrics_of_two[:4])  # the noise has a key for each device


def test_two_devices_make_the_step_of_one_with_the_real_model_and_loss(tiny_model: Transformer, batch: Batch) -> None:
    def loss_fn(params: Transformer, frozen: None, rows: Batch, key: jax.Array, execution: Execution) -> LossSums:
        return next_token(params, rows, execution)

    one, metrics_of_one = run(loss_fn, tiny_model, None, [batch], num_devices=1)
    two, metrics_of_two = run(loss_fn, tiny_model, None, [batch])
    assert len(set(batch.loss_weights.sum(axis=1))) == 4
    assert_close(metrics_of_one, metrics_of_two)
    assert_close(one, two)


def test_metrics_are_means_over_all_weights_of_the_batch() -> None:
    _, [metrics] = run(squared_error, PARAMS, np.float32(0.5), [ROWS])
    errors = ROWS.inputs @ PARAMS["weight"] + 0.5 - ROWS.targets
    gradient = 2 * (errors * ROWS.weights) @ ROWS.inputs / ROWS.weights.sum()
    assert float(metrics.loss) == pytest.approx(np.average(errors**2, weights=ROWS.weights), rel=1e-4)
    assert float(metrics.gradient_norm) == pytest.approx(np.linalg.norm(gradient), rel=1e-4)
    assert float(metrics.num_tokens) == ROWS.weights.sum()
    assert bool(metrics.is_finite)


def test_each_step_has_a_key_of_its_own_that_depends_on_nothing_else() -> None:
    _, metrics = run(squared_error, PARAMS, np.float32(0), [ROWS, ROWS, ROWS])
    _, again = run(squared_error, PARAMS, np.float32(9), [ROWS])
    noises = [float(record.metrics["noise"]) for record in metrics]
    assert len(set(noises)) == 3
    assert float(again[0].metrics["noise"]) == noises[0]


@pytest.mark.parametrize("place", ["targets", "inputs"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_a_loss_that_is_not_finite_changes_nothing(place: str, value: float) -> None:
    broken = np.array(getattr(ROWS, place))
    broken[3] = value  # on the second device only; 1e30 is finite, its square is not
    before, _ = run(squared_error, PARAMS, np.float32(0), [ROWS])
    after, [_, metrics] = run(
        squared_error, PARAMS, np.float32(0), [ROWS, eqx.tree_at(lambda rows: getattr(rows, place), ROWS, broken)]
    )
    assert not bool(metrics.is_finite)
    assert eqx.tree_equal(before, after)
    assert int(after.step) == 1


def test_stages_that_differ_in_their_rates_share_one_compiled_step() -> None:
    mesh = make_mesh(1)
    step = build_step(squared_error, AdamWConfig(), mesh, ComputeConfig())
    assert step is build_step(squared_error, AdamWConfig(), mesh, ComputeConfig())
    for rate in (0.1, 0.2):
        state = replicate(init_state(jax.tree.map(jnp.array, PARAMS), build_optimizer(RULE)), mesh)
        rates = Rates(np.float32(rate), np.float32(0))
        step(state, replicate(np.float32(0), mesh), place_rows(ROWS, mesh, 4), rates, KEY)
    assert step._cache_size() == 1  # type: ignore[attr-defined]


def under_dropout(params: Transformer, frozen: None, rows: Batch, key: jax.Array, execution: Execution) -> LossSums:
    return next_token(params, rows, execution, Dropout(key, 0.2))


def sums_on(mesh_config: MeshConfig, model: Transformer, batch: Batch) -> tuple[Any, LossSums]:
    mesh = build_mesh(mesh_config, jax.devices()[:2])
    state = place(init_state(jax.tree.map(jnp.array, model), build_optimizer(RULE)), mesh)
    gradients_of = jax.jit(build_gradients(under_dropout, mesh, ComputeConfig(unroll_layers=False)))
    gradients, sums = gradients_of(state, None, place_rows(batch, mesh, 4), KEY)
    return jax.tree.map(np.asarray, gradients), sums


def test_by_hand_every_device_drops_elements_of_its_own(tiny_model: Transformer, batch: Batch) -> None:
    twice = jax.tree.map(lambda rows: np.concatenate([rows[:2], rows[:2]]), batch)
    half = jax.tree.map(lambda rows: rows[:2], twice)
    key = jax.random.fold_in(KEY, 0)  # of the first step
    losses = [
        float(jax.jit(next_token)(tiny_model, half, dropout=Dropout(jax.random.fold_in(key, device), 0.2)).value)
        for device in range(2)
    ]
    _, sums = sums_on(MeshConfig(data=2), tiny_model, twice)
    assert abs(losses[0] - losses[1]) > 0.01
    assert float(sums.value) == pytest.approx(sum(losses), rel=1e-4)


def test_by_compiler_the_same_elements_are_dropped_however_the_program_is_split(
    tiny_model: Transformer, batch: Batch
) -> None:
    by_rows, by_tokens = (sums_on(mesh, tiny_model, batch) for mesh in (MeshConfig(fsdp=2), MeshConfig(sequence=2)))
    assert_close(by_tokens, by_rows)
    whole = jax.jit(next_token)(tiny_model, batch, dropout=Dropout(jax.random.fold_in(KEY, 0), 0.2))
    assert float(by_rows[1].value) == pytest.approx(float(whole.value), rel=1e-4)
