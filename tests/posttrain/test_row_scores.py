"""Scores of answers are those of each answer alone, however rows are cut into batches and spread over devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.model.execution import ComputeConfig
from codling.posttrain.group_rows import Groups
from codling.posttrain.row_scores import GroupScores, score_groups
from codling.train.sharding import MeshConfig, build_mesh
from tests.conftest import Pair

PROMPTS = [[5, 6], [7], [8, 9, 10]]
ANSWERS = [[[3, 4], [5, 6, 7]], [[2], [11, 12]], [[1, 9, 4, 6], [8]]]
GROUPS = Groups(PROMPTS, [answer for group in ANSWERS for answer in group], max_answer_tokens=5, row_length_tokens=16)


def score(pair: Pair, config: MeshConfig, batch_size_prompts: int) -> GroupScores:
    mesh = build_mesh(config, jax.devices()[: max(config.sizes.values())])
    return score_groups(pair.model, GROUPS, mesh=mesh, compute=ComputeConfig(), batch_size_prompts=batch_size_prompts)


@pytest.mark.parametrize(
    ("mesh", "batch_size_prompts"), [(MeshConfig(), 3), (MeshConfig(data=2), 2), (MeshConfig(sequence=2), 1)]
)
def test_they_are_those_of_each_answer_alone_and_zero_elsewhere(
    pair: Pair, mesh: MeshConfig, batch_size_prompts: int
) -> None:
    scores, model = score(pair, mesh, batch_size_prompts), pair.model
    assert scores.log_probs.shape == GROUPS.mask.shape
    for number, answer in enumerate(answer for group in ANSWERS for answer in group):
        prompt = PROMPTS[number // 2]
        tokens = jnp.asarray([[*prompt, *answer]])
        places = jnp.arange(tokens.shape[1])[None]
        logits = model.logits(model(tokens, places, jnp.ones_like(tokens), rope_theta=model.config.rope_theta))[0]
        log_probs = np.asarray(jax.nn.log_softmax(logits))[len(prompt) - 1 : -1]
        expected = log_probs[np.arange(len(answer)), answer]
        entropies = -np.sum(np.exp(log_probs) * log_probs, axis=1)
        for found, wanted in zip(scores, (expected, entropies), strict=True):
            np.testing.assert_allclose(found[number, : len(answer)], wanted, atol=1e-4, rtol=1e-4)
            assert not found[number, len(answer) :].any()
