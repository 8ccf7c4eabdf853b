"""Policy losses, checked by enumerating every answer of a toy model and by what their iteration converges to."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.posttrain.advantage import leave_one_out, penalized_rewards
from codling.posttrain.policy_loss import (
    SampledAnswers,
    clipped_loss,
    grpo_loss,
    mdloo_loss,
    reinforce_loss,
)
from codling.train.loss import LossSums

RANDOM = np.random.default_rng(0)
GAMMA, CLIP_RANGE, BETA, TOLERANCE = 0.7, 0.2, 0.3, 1e-5
LOSSES: dict[str, Callable[[SampledAnswers], LossSums]] = {
    "mdloo": partial(mdloo_loss, gamma=GAMMA),
    "reinforce": reinforce_loss,
    "clipped": partial(clipped_loss, clip_range=CLIP_RANGE),
    "grpo": partial(grpo_loss, clip_range=CLIP_RANGE, beta=BETA),
}

# The toy model: three words, answers of two; the second word's distribution depends on the first.
NUM_WORDS = 3
FIRST, SECOND = (jnp.asarray(x.reshape(-1)) for x in np.mgrid[:NUM_WORDS, :NUM_WORDS])
NUM_ANSWERS = NUM_WORDS**2


def random_model() -> dict[str, jax.Array]:
    return {
        "first": jnp.asarray(RANDOM.normal(size=NUM_WORDS), jnp.float32),
        "second": jnp.asarray(RANDOM.normal(size=(NUM_WORDS, NUM_WORDS)), jnp.float32),
    }


def token_log_probs(model: dict[str, jax.Array]) -> jax.Array:
    first = jax.nn.log_softmax(model["first"])[FIRST]
    return jnp.stack([first, jax.nn.log_softmax(model["second"], axis=-1)[FIRST, SECOND]], axis=1)


MODEL, SAMPLER, REFERENCE = (random_model() for _ in range(3))
ADVANTAGES = jnp.asarray(RANDOM.normal(size=NUM_ANSWERS), jnp.float32)


def all_answers(model: dict[str, jax.Array], sampler: dict[str, jax.Array] = SAMPLER) -> SampledAnswers:
    """Every answer once, weighted by the sampler's probability: sums over them are expectations."""
    sampled = token_log_probs(sampler)
    return SampledAnswers(
        log_probs=token_log_probs(model),
        sampler_log_probs=sampled,
        reference_log_probs=token_log_probs(REFERENCE),
        mask=jnp.ones((NUM_ANSWERS, 2), bool),
        advantages=ADVANTAGES,
        weights=jnp.exp(sampled.sum(axis=1)),
    )


def test_mdloo_is_its_objective_in_value_and_gradient() -> None:
    def in_closed_form(model: dict[str, jax.Array]) -> jax.Array:
        log_probs, sampled = token_log_probs(model).sum(axis=1), token_log_probs(SAMPLER).sum(axis=1)
        gain = jnp.sum(jnp.exp(log_probs) * ADVANTAGES)
        divergence = jnp.sum(jnp.exp(log_probs) * (log_probs - sampled))
        return -(gain - GAMMA * divergence)

    def expected(model: dict[str, jax.Array]) -> jax.Array:
        return mdloo_loss(all_answers(model), gamma=GAMMA).value

    (value, gradient), (exact, exact_gradient) = (
        jax.jit(jax.value_and_grad(f))(MODEL) for f in (expected, in_closed_form)
    )
    assert float(value) == pytest.approx(float(exact), rel=TOLERANCE)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), gradient, exact_gradient)


def test_divergences_are_reported_without_bias() -> None:
    metrics = mdloo_loss(all_answers(MODEL), gamma=GAMMA).metrics
    log_probs = np.asarray(token_log_probs(MODEL).sum(axis=1), np.float64)
    for name, other in [("kl_to_sampler", SAMPLER), ("kl_to_reference", REFERENCE)]:
        exact = np.sum(np.exp(log_probs) * (log_probs - np.asarray(token_log_probs(other).sum(axis=1))))
        assert float(metrics[name]) == pytest.approx(exact, rel=1e-4)
    assert float(metrics["ratio"]) == pytest.approx(1, rel=TOLERANCE)


def test_where_nothing_has_moved_mdloo_clipping_and_reinforce_learn_the_same() -> None:
    gradients = [
        jax.jit(jax.grad(lambda model, loss=loss: loss(all_answers(model)).value))(SAMPLER)
        for loss in (LOSSES["mdloo"], LOSSES["clipped"], LOSSES["reinforce"])
    ]
    for other in gradients[1:]:
        jax.tree.map(partial(np.testing.assert_allclose, atol=TOLERANCE), gradients[0], other)


def test_reinforce_is_the_policy_gradient() -> None:
    exact = jax.grad(lambda model: -jnp.sum(jnp.exp(token_log_probs(model).sum(axis=1)) * ADVANTAGES))(SAMPLER)
    gradient = jax.grad(lambda model: reinforce_loss(all_answers(model)).value)(SAMPLER)
    jax.tree.map(partial(np.testing.assert_allclose, atol=TOLERANCE), gradient, exact)


def random_answers(num_rows: int = 6, num_places: int = 5) -> SampledAnswers:
    lengths = RANDOM.integers(1, num_places + 1, size=(num_rows, 1))
    log_probs, sampled, reference = (
        jnp.asarray(-RANDOM.uniform(0.1, 0.6, size=(num_rows, num_places)), jnp.float32) for _ in range(3)
    )
    return SampledAnswers(
        log_probs,
        sampled,
        reference,
        mask=jnp.asarray(np.arange(num_places) < lengths),
        advantages=jnp.asarray(RANDOM.normal(size=num_rows), jnp.float32),
        weights=jnp.ones(num_rows),
    )


def formula(name: str, answers: SampledAnswers, change: Any = 0.0) -> float:
    """The sum over answers, row by row and token by token; with the policy's log-probabilities changed."""
    total = 0.0
    rows, *constants = (np.asarray(x, np.float64) for x in answers)
    for log_probs, sampled, reference, mask, a, _ in zip(rows + change, *constants, strict=True):
        on = mask == 1
        ratio = (log_probs - sampled)[on]
        rho = np.exp(ratio.sum())
        to_reference = (log_probs - reference)[on]
        rhos = np.exp(ratio) if name == "grpo" else np.asarray([rho])
        clipped = np.minimum(rhos * a, np.clip(rhos, 1 - CLIP_RANGE, 1 + CLIP_RANGE) * a)
        total -= {
            "mdloo": rho * a - GAMMA * (rho * np.log(rho) - rho + 1),
            "reinforce": a * log_probs[on].sum(),
            "clipped": clipped[0],
            "grpo": np.mean(clipped) - BETA * np.mean(np.exp(-to_reference) + to_reference - 1),
        }[name]
    return total


@pytest.mark.parametrize("name", LOSSES)
def test_losses_equal_their_formulas(name: str) -> None:
    answers = random_answers()
    sums = LOSSES[name](answers)
    assert float(sums.value) == pytest.approx(formula(name, answers), rel=1e-4)
    assert float(sums.weight) == 6


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_finite_differences(name: str) -> None:
    answers = random_answers()
    gradient = jax.grad(lambda log_probs: LOSSES[name](answers._replace(log_probs=log_probs)).value)(answers.log_probs)
    direction = np.asarray(RANDOM.normal(size=gradient.shape))
    epsilon = 1e-5
    around = [formula(name, answers, sign * epsilon * direction) for sign in (1, -1)]
    slope = (around[0] - around[1]) / (2 * epsilon)
    assert float(np.sum(np.asarray(gradient) * direction)) == pytest.approx(slope, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("name", LOSSES)
def test_masked_places_and_rows_have_no_say(name: str) -> None:
    answers = random_answers()
    answers = answers._replace(mask=answers.mask.at[0].set(False))

    def run(answers: SampledAnswers) -> tuple[LossSums, jax.Array]:
        def value(log_probs: jax.Array) -> tuple[jax.Array, LossSums]:
            sums = LOSSES[name](answers._replace(log_probs=log_probs))
            return sums.value, sums

        gradient, sums = jax.grad(value, has_aux=True)(answers.log_probs)
        return sums, gradient

    wild = answers._replace(log_probs=jnp.where(answers.mask, answers.log_probs, -jnp.inf))
    sums, gradient = run(answers)
    wild_sums, wild_gradient = run(wild)
    assert float(sums.weight) == 5
    jax.tree.map(np.testing.assert_array_equal, wild_sums, sums)
    np.testing.assert_array_equal(wild_gradient, gradient)
    assert not gradient[~answers.mask].any()
    assert gradient[1:].any()


@pytest.mark.parametrize("name", LOSSES)
def test_only_the_policy_learns(name: str) -> None:
    answers = random_answers()

    def value(sampled: jax.Array, reference: jax.Array, advantages: jax.Array) -> jax.Array:
        constants = {"sampler_log_probs": sampled, "reference_log_probs": reference, "advantages": advantages}
        return LOSSES[name](answers._replace(**constants)).value

    for gradient in jax.grad(value, (0, 1, 2))(
        answers.sampler_log_probs, answers.reference_log_probs, answers.advantages
    ):
        assert not gradient.any()


def test_the_whole_answer_is_one_action_where_grpo_has_one_a_token() -> None:
    # The same ratio of the whole answer, spread over its tokens in two ways.
    sampled = -jnp.ones((1, 2))
    spread, lumped = (sampled + jnp.asarray([change]) for change in ([0.1, 0.1], [0.2, 0.0]))

    def answers(log_probs: jax.Array) -> SampledAnswers:
        return SampledAnswers(log_probs, sampled, sampled, jnp.ones((1, 2), bool), jnp.ones(1), jnp.ones(1))

    for name in ("mdloo", "reinforce", "clipped"):
        first, second = (float(LOSSES[name](answers(log_probs)).value) for log_probs in (spread, lumped))
        assert first == pytest.approx(second, rel=TOLERANCE)
    first, second = (float(LOSSES["grpo"](answers(log_probs)).value) for log_probs in (spread, lumped))
    assert first != pytest.approx(second, rel=1e-3)


def test_beyond_the_clip_range_an_answer_has_no_say_and_is_counted() -> None:
    sampled = -jnp.ones((2, 1))
    answers = SampledAnswers(
        sampled + 0.5, sampled, sampled, jnp.ones((2, 1), bool), jnp.asarray([1.0, -1.0]), jnp.ones(2)
    )
    loss = LOSSES["clipped"]
    gradient = jax.grad(lambda log_probs: loss(answers._replace(log_probs=log_probs)).value)(answers.log_probs)
    assert gradient[0, 0] == 0
    assert gradient[1, 0] > 0
    assert float(loss(answers).metrics["clipped"]) == 1


# A bandit of ten arms: the best policy for E[r] - beta KL(pi || pi_ref) is pi_ref exp(r / beta), normalized.
NUM_ARMS, ARM_BETA, ARM_GAMMA = 10, 0.5, 1.0
ARM_REWARDS = jnp.asarray(RANDOM.normal(size=NUM_ARMS), jnp.float32)
ARM_REFERENCE = jax.nn.log_softmax(jnp.asarray(RANDOM.normal(size=NUM_ARMS), jnp.float32))
BEST = jax.nn.softmax(ARM_REFERENCE + ARM_REWARDS / ARM_BETA)
ITERATIONS, UPDATES, RATE = 40, 40, 2.0
NUM_GROUPS, GROUP_SIZE = 64, 8


def pulled(
    logits: jax.Array, sampler: jax.Array, arms: jax.Array, advantages: jax.Array, weights: jax.Array
) -> jax.Array:
    sums = mdloo_loss(
        SampledAnswers(
            jax.nn.log_softmax(logits)[arms][:, None],
            sampler[arms][:, None],
            ARM_REFERENCE[arms][:, None],
            jnp.ones((arms.size, 1), bool),
            advantages,
            weights,
        ),
        gamma=ARM_GAMMA,
    )
    return sums.value / sums.weight


def reward_of(sampler: jax.Array, arms: jax.Array) -> jax.Array:
    log_probs, reference = sampler[arms][..., None], ARM_REFERENCE[arms][..., None]
    return penalized_rewards(ARM_REWARDS[arms], log_probs, reference, jnp.ones((*arms.shape, 1), bool), beta=ARM_BETA)


@pytest.mark.parametrize("exact", [True, False], ids=["expectation", "samples"])
def test_mdloo_converges_to_the_best_policy_of_a_bandit(exact: bool) -> None:
    def iterate(logits: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
        sampler = jax.nn.log_softmax(logits)
        if exact:
            arms, weights = jnp.arange(NUM_ARMS), jnp.exp(sampler)
            rewards = reward_of(sampler, arms[None])[0]
            advantages = rewards - jnp.sum(weights * rewards)
        else:
            groups = jax.random.categorical(key, sampler, shape=(NUM_GROUPS, GROUP_SIZE))
            arms, weights = groups.reshape(-1), jnp.ones(groups.size)
            advantages = leave_one_out(reward_of(sampler, groups)).reshape(-1)
        gradient = jax.grad(pulled)

        def update(logits: jax.Array, _: None) -> tuple[jax.Array, None]:
            return logits - RATE * gradient(logits, sampler, arms, advantages, weights), None

        return jax.lax.scan(update, logits, None, length=UPDATES)[0], None

    run = jax.jit(lambda: jax.lax.scan(iterate, ARM_REFERENCE, jax.random.split(jax.random.key(0), ITERATIONS))[0])
    distance = 0.5 * float(jnp.sum(jnp.abs(jax.nn.softmax(run()) - BEST)))
    start = 0.5 * float(jnp.sum(jnp.abs(jnp.exp(ARM_REFERENCE) - BEST)))
    assert start > 0.3
    assert distance < 0.01
