"""Rewards of sampled answers under a reward model: prompts and answers in tokens in, one number an answer out."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from codling.data.loader import Batch
from codling.posttrain.answer_rows import answer_rows
from codling.posttrain.reward_model import RewardModel

BATCH_SIZE_ROWS = 64
LENGTH_STEP_TOKENS = 64
"""Rows are padded up to a multiple of this: one compilation for each multiple that occurs."""


def reward_answers(
    model: RewardModel, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
) -> Float[np.ndarray, " B"]:
    """The reward of each answer, read off at its last token. An answer of no token has none: it is an error to ask."""
    lengths = np.asarray([len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True)])
    rewards = np.zeros(len(lengths), np.float32)
    by_length = np.argsort(lengths, kind="stable")
    for start in range(0, len(lengths), BATCH_SIZE_ROWS):
        chosen = by_length[start : start + BATCH_SIZE_ROWS]
        # Rows without an answer judge the first one again, so that a last batch compiles like the others.
        filled = [*chosen, *[chosen[0]] * (BATCH_SIZE_ROWS - len(chosen))]
        row_length = -(-int(lengths[chosen].max()) // LENGTH_STEP_TOKENS) * LENGTH_STEP_TOKENS
        # One place more than the last token predicts: its own target is nothing.
        rows = answer_rows([prompts[i] for i in filled], [[*answers[i], 0] for i in filled], row_length)
        judged = _judge(model, rows.batch, jnp.asarray(lengths[filled] - 1, jnp.int32))
        rewards[chosen] = np.asarray(judged)[: len(chosen)]
    return rewards


@eqx.filter_jit
def _judge(model: RewardModel, batch: Batch, ends: Int[Array, " B"]) -> Float[Array, " B"]:
    return model(batch, ends).rewards
