import jax
import jax.numpy as jnp
import numpy as np

from codling.model.execution import ComputeConfig
from codling.posttrain.answer_rows import answer_rows
from codling.posttrain.row_scores import score_rows
from codling.train.sharding import data_mesh
from tests.conftest import Pair

PROMPTS, ANSWERS = [[5, 6], [7], [8, 9, 10]], [[3, 4], [5, 6, 7], [2]]


def test_they_are_those_of_each_answer_alone_and_zero_elsewhere(pair: Pair) -> None:
    rows = answer_rows(PROMPTS, ANSWERS, 8)
    scores = score_rows(pair.model, rows=rows, mesh=data_mesh(2), compute=ComputeConfig(), batch_size_rows=2)
    assert scores.log_probs.shape == rows.mask.shape
    for row, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS, strict=True)):
        tokens = jnp.asarray([[*prompt, *answer]])
        model = pair.model
        places = jnp.arange(tokens.shape[1])[None]
        logits = model.logits(model(tokens, places, jnp.ones_like(tokens), rope_theta=model.config.rope_theta))[0]
        log_probs = np.asarray(jax.nn.log_softmax(logits))[len(prompt) - 1 : -1]
        is_on = rows.mask[row]
        np.testing.assert_allclose(
            scores.log_probs[row, is_on], log_probs[np.arange(len(answer)), answer], atol=1e-4, rtol=1e-4
        )
        entropies = -np.sum(np.exp(log_probs) * log_probs, axis=1)
        np.testing.assert_allclose(scores.entropies[row, is_on], entropies, atol=1e-4, rtol=1e-4)
        assert not scores.log_probs[row, ~is_on].any()
        assert not scores.entropies[row, ~is_on].any()
