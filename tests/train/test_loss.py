from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.train import loss as module
from codling.train.loss import (
    LabelTargets,
    LossSums,
    TeacherTargets,
    cross_entropy,
    head_loss,
    teacher_divergence,
    top1_distillation,
)

TOLERANCE = 1e-5
MODEL_DIM, TEACHER_DIM, VOCAB_SIZE, SHORT_CHUNK = 5, 3, 17, 8
Z_LOSS = 0.01
RANDOM = np.random.default_rng(0)

EMBEDDING = RANDOM.normal(size=(VOCAB_SIZE, MODEL_DIM)).astype(np.float32)
TEACHER_EMBEDDING = RANDOM.normal(size=(VOCAB_SIZE, TEACHER_DIM)).astype(np.float32)
LOGITS = RANDOM.normal(size=(6, VOCAB_SIZE)).astype(np.float32) * 3
TARGETS = TeacherTargets(
    jnp.asarray(RANDOM.integers(0, VOCAB_SIZE, size=6)), jnp.asarray(RANDOM.normal(size=(6, 3)), jnp.float32)
)
LABELS = LabelTargets(TARGETS.labels)
TEACHER_LOGITS = np.asarray(TARGETS.teacher_hidden) @ TEACHER_EMBEDDING.T

z_cross_entropy = partial(cross_entropy, z_loss=Z_LOSS)


def draw_tokens(num_tokens: int) -> tuple[jax.Array, LabelTargets, jax.Array]:
    """Hidden states, labels, and weights of which some are zero."""
    hidden = RANDOM.normal(size=(num_tokens, MODEL_DIM)).astype(np.float32)
    labels = RANDOM.integers(0, VOCAB_SIZE, size=num_tokens)
    weights = RANDOM.integers(0, 3, size=num_tokens).astype(np.float32)
    return jnp.asarray(hidden), LabelTargets(jnp.asarray(labels)), jnp.asarray(weights)


def plain_loss(hidden: Any, embedding: Any, targets: Any, weights: Any) -> jax.Array:
    losses, _ = z_cross_entropy(hidden @ embedding.T, targets, None)
    return jnp.sum(losses * weights)


def chunked_loss(hidden: Any, embedding: Any, targets: Any, weights: Any) -> LossSums:
    return head_loss(z_cross_entropy, hidden, embedding, targets, None, weights)


def all_shapes(jaxpr: Any) -> Iterator[tuple[int, ...]]:
    """The shape of every array that a program makes, loops and calls inside included."""
    for equation in jaxpr.eqns:
        yield from (variable.aval.shape for variable in equation.outvars)
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda node: hasattr(node, "eqns") or hasattr(node, "jaxpr")
        ):
            if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                yield from all_shapes(getattr(inner, "jaxpr", inner))


@pytest.mark.parametrize("num_tokens", [3, 8, 16, 21])
def test_chunks_equal_the_plain_loss_and_its_gradient(monkeypatch: pytest.MonkeyPatch, num_tokens: int) -> None:
    monkeypatch.setattr(module, "CHUNK_LENGTH_TOKENS", SHORT_CHUNK)
    hidden, targets, weights = draw_tokens(num_tokens)

    @jax.jit
    def both(hidden: jax.Array, embedding: jax.Array) -> Any:
        chunked = jax.value_and_grad(lambda h, e: 2.0 * chunked_loss(h, e, targets, weights).value, (0, 1))
        plain = jax.value_and_grad(lambda h, e: 2.0 * plain_loss(h, e, targets, weights), (0, 1))
        forward_only = 2.0 * chunked_loss(hidden, embedding, targets, weights).value
        return chunked(hidden, embedding), plain(hidden, embedding), forward_only

    (value, gradients), (expected, expected_gradients), forward_only = both(hidden, jnp.asarray(EMBEDDING))
    assert float(value) == pytest.approx(float(expected), rel=TOLERANCE)
    assert float(forward_only) == pytest.approx(float(expected), rel=TOLERANCE)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-4)


def test_sums_are_weighted_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_LENGTH_TOKENS", SHORT_CHUNK)
    hidden, targets, weights = draw_tokens(21)
    sums = jax.jit(lambda: chunked_loss(hidden, jnp.asarray(EMBEDDING), targets, weights))()
    losses, metrics = z_cross_entropy(jnp.asarray(hidden @ EMBEDDING.T), targets, None)
    assert float(sums.weight) == np.sum(weights)
    assert float(sums.value) == pytest.approx(float(jnp.sum(losses * weights)), rel=TOLERANCE)
    assert float(sums.metrics["nll"]) == pytest.approx(float(jnp.sum(metrics["nll"] * weights)), rel=TOLERANCE)


def test_tokens_without_weight_have_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_LENGTH_TOKENS", SHORT_CHUNK)
    hidden, targets, weights = draw_tokens(21)
    changed = jnp.where((weights == 0)[:, None], 100.0, hidden)
    run = jax.jit(jax.value_and_grad(lambda h: chunked_loss(h, jnp.asarray(EMBEDDING), targets, weights).value))
    (value, gradient), (changed_value, changed_gradient) = run(hidden), run(changed)
    assert value == changed_value
    np.testing.assert_array_equal(gradient, changed_gradient)
    assert not gradient[weights == 0].any()


def test_the_logits_of_all_tokens_are_never_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_LENGTH_TOKENS", SHORT_CHUNK)
    hidden, targets, weights = draw_tokens(10 * SHORT_CHUNK)

    def largest(loss: Any) -> int:
        program = jax.make_jaxpr(jax.value_and_grad(loss, (0, 1)))(hidden, jnp.asarray(EMBEDDING))
        return max(int(np.prod(shape)) for shape in all_shapes(program.jaxpr))

    assert largest(lambda h, e: plain_loss(h, e, targets, weights)) == hidden.shape[0] * VOCAB_SIZE
    assert largest(lambda h, e: chunked_loss(h, e, targets, weights).value) == hidden.size


def test_what_all_chunks_share_reaches_every_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_LENGTH_TOKENS", 4)
    weights, embedding = jnp.ones(6), jnp.asarray(RANDOM.normal(size=(VOCAB_SIZE, VOCAB_SIZE)), jnp.float32)
    sums = jax.jit(
        lambda: head_loss(
            teacher_divergence, jnp.asarray(LOGITS), embedding, TARGETS, jnp.asarray(TEACHER_EMBEDDING), weights
        )
    )()
    whole, _ = teacher_divergence(jnp.asarray(LOGITS) @ embedding.T, TARGETS, jnp.asarray(TEACHER_EMBEDDING))
    assert float(sums.value) == pytest.approx(float(jnp.sum(whole)), rel=TOLERANCE)


def test_a_teacher_weight_of_zero_is_cross_entropy_and_one_is_that_of_the_teachers_choice() -> None:
    distill = partial(top1_distillation, jnp.asarray(LOGITS), TARGETS, jnp.asarray(TEACHER_EMBEDDING))
    from_label, _ = z_cross_entropy(jnp.asarray(LOGITS), LABELS, None)
    choice = LabelTargets(jnp.asarray(TEACHER_LOGITS.argmax(axis=-1)))
    from_teacher, _ = z_cross_entropy(jnp.asarray(LOGITS), choice, None)
    for weight, expected in [(0.0, from_label), (1.0, from_teacher), (0.9, 0.9 * from_teacher + 0.1 * from_label)]:
        losses, metrics = distill(teacher_weight=weight, z_loss=Z_LOSS)
        np.testing.assert_allclose(losses, expected, rtol=1e-4)
        agreement = LOGITS.argmax(axis=-1) == TEACHER_LOGITS.argmax(axis=-1)
        np.testing.assert_array_equal(metrics["teacher_agreement"], agreement)


def test_divergence_is_zero_for_the_teacher_itself_and_positive_for_others() -> None:
    embedding = jnp.asarray(TEACHER_EMBEDDING)
    same, _ = teacher_divergence(jnp.asarray(TEACHER_LOGITS) + 5.0, TARGETS, embedding)  # a shift is no change
    other, metrics = teacher_divergence(jnp.asarray(LOGITS), TARGETS, embedding)
    np.testing.assert_allclose(same, 0, atol=TOLERANCE)
    assert (np.asarray(other) > 0.01).all()
    np.testing.assert_array_equal(metrics["divergence"], other)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True)))


def test_cross_entropy_equals_the_formula() -> None:
    losses, metrics = z_cross_entropy(jnp.asarray(LOGITS), LABELS, None)
    nll = -log_softmax(LOGITS)[np.arange(6), LABELS.labels]
    normalizer = np.log(np.exp(LOGITS).sum(axis=-1))
    np.testing.assert_allclose(metrics["nll"], nll, rtol=1e-4, atol=TOLERANCE)
    np.testing.assert_allclose(losses, nll + Z_LOSS * normalizer**2, rtol=1e-4, atol=TOLERANCE)


def test_divergence_equals_the_formula() -> None:
    divergence, metrics = teacher_divergence(jnp.asarray(LOGITS), TARGETS, jnp.asarray(TEACHER_EMBEDDING))
    teacher, student = log_softmax(TEACHER_LOGITS), log_softmax(LOGITS)
    np.testing.assert_allclose(divergence, (np.exp(teacher) * (teacher - student)).sum(axis=-1), rtol=1e-4)
    np.testing.assert_allclose(metrics["nll"], -student[np.arange(6), LABELS.labels], rtol=1e-4, atol=TOLERANCE)
