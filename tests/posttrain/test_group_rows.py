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
from codling.posttrain.group_rows import (
    SHORTEST_ROW_TOKENS,
    GroupRows,
    Groups,
    group_log_probs,
    place_groups,
    row_length,
)
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
ROW_LENGTH = 8
"""One of the groups does not fit."""


def make_groups(
    answers: list[list[list[int]]] = ANSWERS, prompts: list[list[int]] = PROMPTS, row_length_tokens: int = ROW_LENGTH
) -> Groups:
    flat = [answer for group in answers for answer in group]
    return Groups(prompts, flat, max_answer_tokens=max(map(len, flat)), row_length_tokens=row_length_tokens)


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
    groups = make_groups([[[1, 2], [3, 4, 9]], [[2, 3], [1]]], [[5, 6, 7], [8]], row_length_tokens=16)
    rows = rows_of(groups)
    assert groups.lengths_tokens.tolist() == [6, 2]
    assert rows.tokens.shape == (1, 16)
    assert rows.tokens[0, :9].tolist() == [5, 6, 7, 3, 4, 1, 8, 2, 0]  # the longer answer first
    assert rows.segment_ids[0, :9].tolist() == [1, 1, 1, 2, 2, 3, 4, 5, 0]
    assert rows.prefix_ids[0, :9].tolist() == [1, 1, 1, 1, 1, 1, 4, 4, 0]
    assert rows.positions[0, :9].tolist() == [0, 1, 2, 3, 4, 3, 0, 1, 0]
    assert rows.places[:, :4].tolist() == [[2, 5, 0, 0], [2, 3, 4, 0], [6, 7, 0, 0], [6, 0, 0, 0]]
    answers = [row[mask].tolist() for row, mask in zip(rows.targets, rows.mask, strict=True)]
    assert answers == [[1, 2], [3, 4, 9], [2, 3], [1]]


def test_a_group_that_fits_no_row_is_split_and_its_prompt_repeated() -> None:
    groups = make_groups([[[1] * 5, [2] * 5, [3] * 5]], [[7, 8, 9]], row_length_tokens=12)
    rows = rows_of(groups)
    assert rows.tokens.tolist() == [[7, 8, 9, 1, 1, 1, 1, 2, 2, 2, 2, 0], [7, 8, 9, 3, 3, 3, 3, 0, 0, 0, 0, 0]]
    assert rows.places[:, 0].tolist() == [2, 2, 12 + 2]


def test_rows_come_in_few_numbers() -> None:
    counts = set()
    for num_groups in range(1, 41):
        rows = rows_of(make_groups([[[1] * 6]] * num_groups, [[7, 8]] * num_groups))  # a group a row
        assert num_groups <= len(rows.tokens) <= num_groups * 5 / 4
        counts.add(len(rows.tokens))
    assert len(counts) == 4 + 2 + 4 + 4 + 1


@pytest.mark.parametrize("mesh", [ONE, TWO, MeshConfig(fsdp=2)])
def test_every_answer_is_found_once_behind_its_prompt(mesh: MeshConfig) -> None:
    random = np.random.default_rng(0)
    prompts = [random.integers(1, 99, size=random.integers(1, 8)).tolist() for _ in range(8)]
    answers = [[random.integers(1, 99, size=random.integers(1, 7)).tolist() for _ in range(3)] for _ in prompts]
    groups = make_groups(answers, prompts, row_length_tokens=16)
    chosen = groups.spread(np.asarray([6, 0, 3, 5, 1, 2]), mesh_of(mesh))
    assert sorted(chosen.tolist()) == [0, 1, 2, 3, 5, 6]
    rows = groups.rows(chosen, mesh_of(mesh))
    num_parts = 2 if mesh == TWO else 1
    by_device = rows.tokens.reshape(num_parts, -1), rows.segment_ids.reshape(num_parts, -1)
    for index, number in enumerate(groups.numbers(chosen).tolist()):
        tokens, segment_ids = (part[index // (len(rows.places) // num_parts)] for part in by_device)
        prompt, answer = prompts[number // 3], answers[number // 3][number % 3]
        places = rows.places[index][rows.mask[index]]
        assert tokens[places[1:]].tolist() == answer[:-1]
        assert rows.targets[index][rows.mask[index]].tolist() == answer
        assert tokens[places[0] + 1 - len(prompt) : places[0] + 1].tolist() == prompt
        assert len(set(segment_ids[places[1:]].tolist())) <= 1


def test_each_device_has_as_many_groups_and_about_as_many_tokens() -> None:
    answers = [[[1] * length, [2] * length] for length in (40, 38, 6, 4)]
    groups = make_groups(answers, row_length_tokens=SHORTEST_ROW_TOKENS)
    totals = groups.lengths_tokens[groups.spread(np.arange(4), mesh_of(TWO))].reshape(2, 2).sum(axis=1)
    assert np.ptp(totals) < 10


def test_batches_are_dealt_at_random_and_are_about_as_long() -> None:
    prompts = [[1] * length for length in range(1, 13)]
    groups = make_groups([[[1], [2]]] * 12, prompts, row_length_tokens=16)
    random = np.random.default_rng(0)
    first, second = (groups.deal(3, random) for _ in range(2))
    assert first.shape == (3, 4)
    assert sorted(first.ravel().tolist()) == list(range(12))
    assert not np.array_equal(first, second)
    assert np.ptp(groups.lengths_tokens[first].sum(axis=1)) <= 8
    together = [{0, 1} <= set(batch) for _ in range(20) for batch in groups.deal(3, random).tolist()]
    assert not any(together)


@pytest.mark.parametrize(
    ("lengths", "max_answer_tokens", "expected"),
    [([3, 5], 9, 128), ([100], 29, 512), ([60, 10], 69, 128), ([60, 10], 70, 256), ([200] + [10] * 30, 58, 512)],
)
def test_rows_hold_the_longest_prompt_with_an_answer_and_three_of_the_mean_length(
    lengths: list[int], max_answer_tokens: int, expected: int
) -> None:
    assert row_length([[1] * length for length in lengths], max_answer_tokens) == expected


@pytest.mark.parametrize(
    ("answers", "message"),
    [([[2], []], "answer 1 has no tokens"), ([[2] * 9], "broadcast"), ([[2] * 8], "have 12 tokens, a row holds 10")],
)
def test_answers_that_cannot_be_laid_out_are_an_error(answers: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Groups([[1] * 5], answers, max_answer_tokens=8, row_length_tokens=10)


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
