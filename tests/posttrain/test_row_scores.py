"""Scores of answers are those of each answer alone, however rows are cut into batches and spread over devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.model.execution import ComputeConfig
from codling.posttrain.group_rows import GroupRows, group_rows
from codling.posttrain.row_scores import RowScores, score_rows
from codling.train.sharding import MeshConfig, build_mesh
from tests.conftest import Pair

PROMPTS = [[5, 6], [7], [8, 9, 10]]
ANSWERS = [[[3, 4], [5, 6, 7]], [[2], [11, 12]], [[1, 9, 4, 6], [8]]]
ROWS = group_rows(PROMPTS, ANSWERS, 5)


def score(pair: Pair, mesh: MeshConfig, batch_size_rows: int, rows: GroupRows = ROWS) -> RowScores:
    devices = jax.devices()[: max(mesh.sizes.values())]
    return score_rows(
        pair.model,
        rows=rows,
        mesh=build_mesh(mesh, devices),
        compute=ComputeConfig(),
        batch_size_rows=batch_size_rows,
    )


@pytest.mark.parametrize(
    ("mesh", "batch_size_rows"), [(MeshConfig(), 3), (MeshConfig(data=2), 2), (MeshConfig(sequence=2), 1)]
)
def test_they_are_those_of_each_answer_alone_and_zero_elsewhere(
    pair: Pair, mesh: MeshConfig, batch_size_rows: int
) -> None:
    scores, model = score(pair, mesh, batch_size_rows), pair.model
    assert scores.log_probs.shape == ROWS.mask.shape
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
