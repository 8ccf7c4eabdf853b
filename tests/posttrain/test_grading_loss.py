import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

from codling.posttrain.grading_loss import grading_loss
from codling.posttrain.gradings import MISSING_GRADE, Gradings, Truthfulness, grade_numbers

RANDOM = np.random.default_rng(0)
LOGITS = jnp.asarray(RANDOM.normal(size=(5, 2, 4, 3)) * 2, jnp.float32)
GRADES = jnp.asarray(RANDOM.integers(-1, 3, size=(5, 2, 4)), jnp.int32)
TOLERANCE = 1e-5


def test_it_equals_the_formula() -> None:
    expected = np.zeros(5)
    for place in np.argwhere(np.asarray(GRADES) != MISSING_GRADE):
        logits = np.asarray(LOGITS, np.float64)[tuple(place)]
        expected[place[0]] -= logits[GRADES[tuple(place)]] - np.log(np.exp(logits).sum())
    np.testing.assert_allclose(grading_loss(LOGITS, GRADES), expected, rtol=TOLERANCE)


def test_equal_logits_give_log_3_for_every_grade() -> None:
    loss = grading_loss(jnp.zeros((1, 2, 4, 3)), jnp.ones((1, 2, 4), jnp.int32))
    np.testing.assert_allclose(loss, [8 * np.log(3)], rtol=TOLERANCE)


def test_a_missing_grade_has_no_say() -> None:
    missing = GRADES == MISSING_GRADE
    wild = jnp.where(missing[..., None], jnp.inf, LOGITS)
    np.testing.assert_array_equal(grading_loss(wild, GRADES), grading_loss(LOGITS, GRADES))
    gradient = jax.grad(lambda logits: grading_loss(logits, GRADES).sum())(LOGITS)
    assert not gradient[missing].any()
    assert gradient[~missing].any(axis=-1).all()


def test_no_grades_at_all_give_exactly_zero() -> None:
    grades = jnp.asarray([[grade_numbers(None)] * 2], jnp.int32)
    value, gradient = jax.value_and_grad(lambda logits: grading_loss(logits, grades).sum())(LOGITS[:1])
    assert float(value) == 0
    assert not gradient.any()


def test_gradings_say_which_logit_grows() -> None:
    grades = jnp.asarray([[grade_numbers(Gradings(truthfulness=Truthfulness.TRUTHFUL)), grade_numbers(None)]])
    gradient = jax.grad(lambda logits: grading_loss(logits, grades).sum())(LOGITS[:1])
    assert np.argwhere(np.asarray(gradient) < 0).tolist() == [[0, 0, 2, 2]]


def test_gradients_are_finite_differences() -> None:
    loss = jax.jit(lambda logits: grading_loss(logits, GRADES))
    check_grads(loss, (LOGITS,), 1, ["rev"], atol=0.02, rtol=0.02)  # type: ignore[no-untyped-call]
