"""Each objective's loss of a batch is that of its formula on the model's own log-probabilities."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pydantic
import pytest

from codling.config import config, from_dict
from codling.errors import UserError
from codling.model.execution import PLAIN
from codling.posttrain.group_rows import GroupRows, Groups
from codling.posttrain.objective import (
    GrpoConfig,
    MdlooConfig,
    Objective,
    OnlineBatch,
    PpoConfig,
    ReinforceConfig,
    loss_of,
)
from codling.train.sharding import data_mesh
from tests.conftest import Pair

PROMPTS, ANSWERS = [[5, 6], [7]], [[[3, 4], [5, 6, 7]], [[2], [9, 1]]]
ADVANTAGES = np.asarray([0.5, -1.0, 0.25, 0.75], np.float32)
SHIFT = 0.1
OBJECTIVES: list[Objective] = [MdlooConfig(gamma=0.3), ReinforceConfig(), PpoConfig(), GrpoConfig(beta=0.5)]


@config
class Holder:
    objective: Objective


def rows() -> GroupRows:
    answers = [answer for group in ANSWERS for answer in group]
    groups = Groups(PROMPTS, answers, max_answer_tokens=4, row_length_tokens=16)
    return groups.rows(np.arange(2), data_mesh(1))


def own_log_probs(pair: Pair) -> np.ndarray:
    """By the whole logits of each answer alone."""
    model, found = pair.model, np.zeros(rows().mask.shape, np.float32)
    for number, answer in enumerate(answer for group in ANSWERS for answer in group):
        prompt = PROMPTS[number // 2]
        tokens = jnp.asarray([[*prompt, *answer]])
        places = jnp.arange(tokens.shape[1])[None]
        hidden = model(tokens, places, jnp.ones_like(tokens), rope_theta=model.config.rope_theta)
        log_probs = jax.nn.log_softmax(model.logits(hidden))[0, len(prompt) - 1 : -1]
        found[number, : len(answer)] = log_probs[np.arange(len(answer)), np.asarray(answer)]
    return found


def expected(objective: Objective, log_ratios: np.ndarray, log_probs: np.ndarray) -> Any:
    """The formulas, an answer, in NumPy; `log_ratios` [B, T] are those to sampler and reference alike."""
    mask = rows().mask
    rho, by_token = np.exp(log_ratios.sum(1)), np.exp(log_ratios)
    match objective:
        case MdlooConfig():
            return -(rho * ADVANTAGES - objective.gamma * (rho * np.log(rho) - rho + 1))
        case ReinforceConfig():
            return -ADVANTAGES * log_probs.sum(1)
        case PpoConfig():
            clipped = np.clip(rho, 1 - objective.clip_range, 1 + objective.clip_range)
            return -np.minimum(rho * ADVANTAGES, clipped * ADVANTAGES)
        case GrpoConfig():
            clipped = np.clip(by_token, 1 - objective.clip_range, 1 + objective.clip_range)
            gains = np.minimum(by_token * ADVANTAGES[:, None], clipped * ADVANTAGES[:, None])
            k3 = np.exp(-log_ratios) - 1 + log_ratios
            return ((objective.beta * k3 - gains) * mask).sum(1) / mask.sum(1)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda one: one.name)
def test_the_loss_is_that_of_the_formula(pair: Pair, objective: Objective) -> None:
    own, mask = own_log_probs(pair), rows().mask
    other = (own - SHIFT) * mask
    batch = OnlineBatch(rows(), other, other, ADVANTAGES)
    sums = loss_of(objective)(pair.model, None, batch, jax.random.key(0), PLAIN)
    np.testing.assert_allclose(sums.value, expected(objective, SHIFT * mask, own).sum(), rtol=1e-4)
    assert sums.weight == 4
    assert {"kl_to_sampler", "kl_to_reference", "ratio"} <= set(sums.metrics)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda one: one.name)
def test_recipes_write_and_read_them(objective: Objective) -> None:
    values = pydantic.TypeAdapter(Holder).dump_python(Holder(objective=objective), mode="json")
    assert from_dict(Holder, values, source="x").objective == objective


@pytest.mark.parametrize("values", [{"name": "trpo"}, {"name": "ppo", "gamma": 0.1}])
def test_an_option_of_another_objective_is_refused_and_never_ignored(values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"^recipe: .*(trpo|gamma)"):
        from_dict(Holder, {"objective": values}, source="recipe")
