from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.data.loader import Batch
from codling.model.transformer import Transformer
from codling.train import objective as module
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
        return jax.nn.log_softmax(model.logits(last_hidden(model, batch)))

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


def test_unrolled_or_scanned_the_objective_is_the_same(
    tiny_model: Transformer, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    unrolled = eqx.filter_jit(next_token)(tiny_model, batch)
    monkeypatch.setattr(module, "_is_unrolling_faster", lambda model: False)
    scanned = jax.jit(lambda model: next_token(model, batch))(tiny_model)
    assert float(scanned.value) == pytest.approx(float(unrolled.value), rel=1e-5)
