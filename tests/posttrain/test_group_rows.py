"""Answers that share a row with their prompt and with each other are what each is alone."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from codling.model.execution import PLAIN, ComputeConfig, Execution
from codling.model.transformer import Transformer
from codling.posttrain.group_rows import SHORTEST_ROW_TOKENS, GroupRows, Groups, group_log_probs, place_groups
from codling.train.loss import LossSums
from codling.train.sharding import MeshConfig, build_mesh, place
from codling.train.state import TrainState
from codling.train.step import build_gradients
from tests.conftest import Pair

TOLERANCE = 1e-5
PROMPTS = [[5, 6, 7], [8], [20, 21], [9, 9, 4, 3, 2]]
ANSWERS = [
    [[1, 2], [3], [4, 9, 8, 7]],
    [[3], [3], [5, 6]],
    [[1, 2, 3, 4, 5, 6], [30], [31, 32, 33]],
    [[2, 2], [2, 2], [7]],
]
LONG = [7] * 60
"""Two of these in each group, and a row holds one group only."""


def make_groups(answers: list[list[list[int]]] = ANSWERS, prompts: list[list[int]] = PROMPTS) -> Groups:
    flat = [answer for group in answers for answer in group]
    return Groups(prompts, flat, max(map(len, flat)))


def mesh_of(config: MeshConfig) -> Mesh:
    return build_mesh(config, jax.devices()[: max(config.sizes.values())])


ONE, TWO = MeshConfig(), MeshConfig(data=2)
GROUPS = make_groups()


def rows_of(groups: Groups) -> GroupRows:
    return groups.rows(np.arange(len(groups)), mesh_of(ONE))


@pytest.fixture(scope="module")
def model(pair: Pair) -> Transformer:
    """Of weights so small that float32 resolves the tolerance."""
    small: Transformer = jax.tree.map(lambda leaf: leaf * 0.2, pair.model)
    return small


def alone(model: Transformer, prompt: list[int], answer: list[int]) -> jax.Array:
    """Log-probabilities of one answer's tokens, in a row of its own, by the whole logits."""
    tokens = jnp.asarray([[*prompt, *answer]])
    places = jnp.arange(tokens.shape[1])[None]
    hidden = model(tokens, places, jnp.ones_like(tokens), rope_theta=model.config.rope_theta)
    log_probs = jax.nn.log_softmax(model.logits(hidden))[0, len(prompt) - 1 : -1]
    return log_probs[jnp.arange(len(answer)), jnp.asarray(answer)]


def weigh(log_probs: Any) -> jax.Array:
    """Some function of all of them, so that gradients tell them apart."""
    return jnp.sum(jnp.sin(log_probs) * jnp.arange(1.0, log_probs.size + 1).reshape(log_probs.shape))


def weigh_rows(model: Transformer, rows: GroupRows, execution: Execution = PLAIN) -> jax.Array:
    log_probs = group_log_probs(model, rows, execution).log_probs
    return weigh(jnp.where(jnp.asarray(rows.mask), log_probs, 0.0))


def test_a_row_holds_groups_and_each_place_predicts_its_target() -> None:
    groups = make_groups([[[1, 2], [3, 4, 9]], [[1], [2, 3]]], [[5, 6, 7], [8]])
    rows = rows_of(groups)
    assert groups.lengths_tokens.tolist() == [6, 2]
    assert rows.tokens.shape == (1, SHORTEST_ROW_TOKENS)
    assert rows.tokens[0, :9].tolist() == [5, 6, 7, 1, 3, 4, 8, 2, 0]
    assert rows.segment_ids[0, :9].tolist() == [1, 1, 1, 2, 3, 3, 4, 6, 0]
    assert rows.prefix_ids[0, :9].tolist() == [1, 1, 1, 1, 1, 1, 4, 4, 0]
    assert rows.positions[0, :9].tolist() == [0, 1, 2, 3, 3, 4, 0, 1, 0]
    assert rows.places[:, :4].tolist() == [[2, 3, 0, 0], [2, 4, 5, 0], [6, 0, 0, 0], [6, 7, 0, 0]]
    answers = [row[mask].tolist() for row, mask in zip(rows.targets, rows.mask, strict=True)]
    assert answers == [[1, 2], [3, 4, 9], [1], [2, 3]]


def test_each_device_has_as_many_groups_and_about_as_many_tokens() -> None:
    groups = make_groups([[[1] * length, [2] * length] for length in (40, 38, 6, 4)])
    chosen = groups.spread(np.arange(4), mesh_of(TWO))
    assert sorted(chosen.tolist()) == [0, 1, 2, 3]
    totals = groups.lengths_tokens[chosen].reshape(2, 2).sum(axis=1)
    assert np.ptp(totals) < 10
    rows = groups.rows(chosen, mesh_of(TWO))
    assert rows.tokens.shape == (2, SHORTEST_ROW_TOKENS)
    for device, part in enumerate(np.split(chosen, 2)):
        answers = range(device * 4, device * 4 + 4)
        for number, expected in zip(answers, groups.numbers(part).tolist(), strict=True):
            # All tokens but the last, found through the places of the device's own rows.
            places = rows.places[number][rows.mask[number]]
            found = rows.tokens[device][places[1:]]
            np.testing.assert_array_equal(found, groups.targets[expected][groups.mask[expected]][:-1])


def test_rows_are_as_few_as_hold_the_groups_and_the_same_for_every_device() -> None:
    groups = make_groups([[LONG, LONG], [LONG, LONG], [LONG, LONG], [[1], [2]]])
    chosen = np.arange(4)
    assert groups.row_length_tokens == SHORTEST_ROW_TOKENS
    assert groups.rows(chosen, mesh_of(ONE)).tokens.shape[0] == 3
    assert groups.rows(chosen, mesh_of(TWO)).tokens.shape[0] == 4
    assert groups.rows(chosen, mesh_of(MeshConfig(fsdp=2))).tokens.shape[0] == 4


def test_an_answer_beyond_the_longest_is_an_error() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        Groups([[1]], [[2] * 9], 8)


def test_an_answer_without_tokens_is_an_error() -> None:
    with pytest.raises(ValueError, match="answer 1 has no tokens"):
        Groups([[1]], [[2], []], 8)


@pytest.mark.parametrize("num_answers", [1, 3])
def test_log_probs_and_gradients_are_those_of_rows_of_their_own(model: Transformer, num_answers: int) -> None:
    answers = [group[:num_answers] for group in ANSWERS]
    rows = rows_of(make_groups(answers))

    def weigh_alone(model: Transformer) -> jax.Array:
        found = jnp.zeros(rows.mask.shape)
        for number, answer in enumerate(answer for group in answers for answer in group):
            log_probs = alone(model, PROMPTS[number // num_answers], answer)
            found = found.at[number, : len(answer)].set(log_probs)
        return weigh(found)

    together, apart = (
        jax.jit(jax.value_and_grad(function))(model) for function in (partial(weigh_rows, rows=rows), weigh_alone)
    )
    for found, expected in zip(jax.tree.leaves(together), jax.tree.leaves(apart), strict=True):
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE * np.abs(expected).max())


def gradients_on(model: Transformer, config: MeshConfig) -> Transformer:
    """By the machinery of a training step."""

    def loss(params: Transformer, frozen: None, rows: GroupRows, key: jax.Array, execution: Execution) -> LossSums:
        log_probs = group_log_probs(params, rows, execution).log_probs
        return LossSums(jnp.sum(jnp.sin(log_probs)), jnp.sum(jnp.asarray(rows.mask).astype(jnp.float32)), {})

    mesh = mesh_of(config)
    rows = place_groups(GROUPS.rows(GROUPS.spread(np.arange(4), mesh), mesh), mesh)
    state = TrainState(place(model, mesh), None, jnp.zeros((), jnp.int32))
    gradients_of: Callable[..., Any] = eqx.filter_jit(build_gradients(loss, mesh, ComputeConfig()))
    found: Transformer = gradients_of(state, None, rows, jax.random.key(0))[0]
    return found


@pytest.fixture(scope="module")
def gradients_on_one_device(model: Transformer) -> Transformer:
    return gradients_on(model, ONE)


@pytest.mark.parametrize("axis", ["data", "fsdp", "sequence"])
def test_two_devices_find_what_one_finds(model: Transformer, gradients_on_one_device: Transformer, axis: str) -> None:
    found = gradients_on(model, MeshConfig(**{axis: 2}))
    for value, expected in zip(jax.tree.leaves(found), jax.tree.leaves(gradients_on_one_device), strict=True):
        np.testing.assert_allclose(value, expected, rtol=TOLERANCE, atol=TOLERANCE * np.abs(expected).max())


def test_neither_other_answers_nor_other_groups_leak(model: Transformer) -> None:
    changed = [[group[0], [40] * len(group[1]), group[2]] for group in ANSWERS]
    run = jax.jit(lambda rows: group_log_probs(model, rows, PLAIN).log_probs)
    before, after = (np.asarray(run(rows_of(groups))).reshape(4, 3, -1) for groups in (GROUPS, make_groups(changed)))
    np.testing.assert_array_equal(before[:, [0, 2]], after[:, [0, 2]])
    assert not np.isclose(before[:, 1, 0], after[:, 1, 0]).any()


def test_off_the_mask_nothing_is_found(model: Transformer) -> None:
    rows = rows_of(GROUPS)
    scored = group_log_probs(model, rows, PLAIN, with_entropies=True)
    assert scored.entropies is not None
    for values in (scored.log_probs, scored.entropies):
        assert not np.asarray(values)[~rows.mask].any()
        assert np.asarray(values)[rows.mask].all()
