from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.data.loader import Batch
from codling.model.dropout import Dropout
from codling.model.execution import ComputeConfig, ComputeType, Execution, Remat
from codling.model.transformer import Transformer
from codling.train.objective import distilled, last_hidden, matched, next_token

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def teacher(tiny_model: Transformer) -> Transformer:
    """The model's layers in another order: of the same shape, of another mind."""
    backwards = jax.tree.map(lambda leaf: leaf[::-1], tiny_model.blocks)
    return Transformer(tiny_model.embedding, backwards, tiny_model.final_norm, tiny_model.config)


@pytest.fixture(scope="module")
def log_probs(tiny_model: Transformer, teacher: Transformer, batch: Batch) -> dict[str, np.ndarray]:
    """The whole distribution of both, [T, V]."""

    @eqx.filter_jit
    def run(model: Transformer) -> jax.Array:
        return jax.nn.log_softmax(model.logits(last_hidden(model, batch)).reshape(-1, model.config.vocab_size))

    return {"model": np.asarray(run(tiny_model)), "teacher": np.asarray(run(teacher))}


def test_next_token_equals_the_formula(tiny_model: Transformer, batch: Batch, log_probs: dict[str, np.ndarray]) -> None:
    sums = eqx.filter_jit(next_token)(tiny_model, batch)
    weights, targets = batch.loss_weights.reshape(-1), batch.targets.reshape(-1)
    nll = -(log_probs["model"][np.arange(targets.size), targets] * weights).sum()
    assert float(sums.weight) == weights.sum()
    assert float(sums.metrics["nll"]) == pytest.approx(nll, rel=TOLERANCE)
    assert float(sums.value) == pytest.approx(nll, rel=1e-3)  # z-loss is small
    assert float(sums.value) > float(sums.metrics["nll"])


def test_distilled_leans_on_the_teachers_choice(
    tiny_model: Transformer, teacher: Transformer, batch: Batch, log_probs: dict[str, np.ndarray]
) -> None:
    sums = eqx.filter_jit(distilled)(tiny_model, teacher, batch, teacher_weight=0.9)
    weights, targets = batch.loss_weights.reshape(-1), batch.targets.reshape(-1)
    places, choices = np.arange(targets.size), log_probs["teacher"].argmax(axis=-1)
    mixed = 0.9 * log_probs["model"][places, choices] + 0.1 * log_probs["model"][places, targets]
    assert float(sums.value) == pytest.approx(-(mixed * weights).sum(), rel=1e-3)


def test_matched_is_zero_against_oneself_and_has_no_gradient_there(tiny_model: Transformer, batch: Batch) -> None:
    @jax.jit
    def run(model: Transformer) -> Any:
        return jax.value_and_grad(lambda model: matched(model, tiny_model, batch).value)(model)

    value, gradient = run(tiny_model)
    assert abs(float(value)) < TOLERANCE
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)) < TOLERANCE


def test_the_teacher_learns_nothing(tiny_model: Transformer, teacher: Transformer, batch: Batch) -> None:
    @jax.jit
    def run(models: tuple[Transformer, Transformer]) -> Any:
        return jax.grad(lambda models: matched(models[0], models[1], batch).value)(models)

    to_model, to_teacher = run((tiny_model, teacher))
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(to_model))
    assert not any(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(to_teacher))


@pytest.mark.parametrize(
    ("remat", "dropout"), [*((remat, None) for remat in Remat), (Remat.LAYERS, Dropout(jax.random.key(0), 0.1))]
)
def test_scanned_unrolled_or_computed_again_the_gradient_is_the_same(
    tiny_model: Transformer, batch: Batch, remat: Remat, dropout: Dropout | None
) -> None:
    def gradient(compute: ComputeConfig) -> Any:
        loss = jax.grad(lambda model: next_token(model, batch, Execution(compute), dropout).value)
        return jax.jit(loss)(tiny_model)

    expected = gradient(ComputeConfig(unroll_layers=True))
    for left, right in zip(
        *map(jax.tree.leaves, (gradient(ComputeConfig(unroll_layers=False, remat=remat)), expected)), strict=True
    ):
        np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-4)


def test_in_half_precision_the_loss_is_near_and_parameters_keep_their_type(
    tiny_model: Transformer, batch: Batch
) -> None:
    half = Execution(ComputeConfig(dtype=ComputeType.BFLOAT16))
    run = jax.jit(jax.value_and_grad(lambda model: next_token(model, batch, half).value))
    value, gradient = run(tiny_model)
    exact = jax.jit(lambda model: next_token(model, batch).value)(tiny_model)
    assert value.dtype == jnp.float32
    assert float(value) == pytest.approx(float(exact), rel=0.01)
    assert float(value) != float(exact)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}
