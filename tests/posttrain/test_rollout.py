from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.errors import UserError
from codling.evaluate.answers import greedy_answers
from codling.model.generate import Sampling
from codling.posttrain.rollout import STOP_IDS, RolloutConfig, Rollouts, check_room, pad_prompts, roll_out
from codling.train.sharding import MeshConfig, build_mesh
from tests.conftest import Pair

TOLERANCE = 1e-4
PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12, 13], [14], [20, 21, 22, 23]]
CONFIG = RolloutConfig(num_answers=3, max_answer_tokens=8, batch_size_prompts=2)
ONE, TWO = MeshConfig(), MeshConfig(data=2)


def ask(
    pair: Pair,
    prompts: Sequence[Sequence[int]] = PROMPTS,
    config: RolloutConfig = CONFIG,
    mesh: MeshConfig = TWO,
    sampling: Sampling | None = None,
) -> Rollouts:
    devices = jax.devices()[: 2 if mesh == TWO else 1]
    how = {} if sampling is None else {"sampling": sampling}
    return roll_out(config, pair.model, prompts, jax.random.key(0), build_mesh(mesh, devices), **how)


@pytest.fixture(scope="module")
def rollouts(pair: Pair) -> Rollouts:
    return ask(pair)


def test_log_probs_are_those_of_the_model_that_is_trained(pair: Pair, rollouts: Rollouts) -> None:
    for row in range(len(PROMPTS) * CONFIG.num_answers):
        prompt, answer = PROMPTS[row // CONFIG.num_answers], rollouts.ids(row)
        tokens = jnp.asarray([[*prompt, *answer]])
        places = jnp.arange(tokens.shape[1])[None]
        model = pair.model
        logits = model.logits(model(tokens, places, jnp.ones_like(tokens), rope_theta=model.config.rope_theta))[0]
        log_probs = jax.nn.log_softmax(logits)[len(prompt) - 1 : -1]
        expected = log_probs[np.arange(len(answer)), np.asarray(answer)]
        np.testing.assert_allclose(rollouts.log_probs[row, : len(answer)], expected, atol=TOLERANCE)
        assert not rollouts.log_probs[row, len(answer) :].any()


def test_answers_to_one_prompt_differ_and_repeat_with_the_key(pair: Pair, rollouts: Rollouts) -> None:
    rows = [tuple(rollouts.ids(row)) for row in range(len(PROMPTS) * CONFIG.num_answers)]
    assert len(set(rows)) == len(rows)
    np.testing.assert_array_equal(ask(pair).answers, rollouts.answers)


def test_draws_depend_on_the_prompt_s_place_alone(pair: Pair, rollouts: Rollouts) -> None:
    """Not on what shares the batch, how it is padded, or how many devices there are."""
    alone = ask(pair, PROMPTS[:1])
    np.testing.assert_array_equal(alone.answers, rollouts.answers[: CONFIG.num_answers])
    on_one = ask(pair, mesh=ONE, config=RolloutConfig(num_answers=3, max_answer_tokens=8, batch_size_prompts=4))
    np.testing.assert_array_equal(on_one.answers, rollouts.answers)


def test_at_temperature_zero_it_is_the_most_likely_answer(pair: Pair) -> None:
    greedy = ask(pair, sampling=Sampling())
    expected = greedy_answers(pair.model, PROMPTS, CONFIG.max_answer_tokens)
    for row in range(len(PROMPTS) * CONFIG.num_answers):
        assert greedy.ids(row) == expected[row // CONFIG.num_answers]


def test_what_did_not_end_was_cut_off(rollouts: Rollouts) -> None:
    for row, is_cut_off in enumerate(rollouts.is_cut_off):
        answer = rollouts.ids(row)
        assert is_cut_off == (answer[-1] not in STOP_IDS)
        assert not is_cut_off or len(answer) == CONFIG.max_answer_tokens
        assert not set(STOP_IDS) & set(answer[:-1])


def test_prompts_are_padded_to_a_few_lengths() -> None:
    tokens, lengths = pad_prompts([[1, 2], list(range(70))], 4)
    assert tokens.shape == (4, 128)
    assert lengths.tolist() == [2, 70, 2, 2]
    assert tokens[0].tolist() == [1, 2] + [0] * 126


def test_a_prompt_without_room_for_an_answer_is_refused() -> None:
    with pytest.raises(
        UserError, match="prompt 1 has 90 tokens; with answers of up to 8 it is beyond the context of 96"
    ):
        check_room(CONFIG, [[1], [1] * 90], 96)


@pytest.mark.parametrize("name", ["num_answers", "max_answer_tokens", "batch_size_prompts"])
def test_nothing_to_sample_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be >= 1"):
        RolloutConfig(**{name: 0})
