"""A model's own answers to prompts, many at a time."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from codling.model.generate import Sampling, generate
from codling.model.transformer import Transformer
from codling.tokenizer.special_tokens import END, EOS

BATCH_SIZE_ROWS = 64
LENGTH_STEP_TOKENS = 64
"""Prompts are padded up to a multiple of this: one compilation for each multiple that occurs."""


def greedy_answers(model: Transformer, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[list[int]]:
    """The most likely continuation of each prompt, up to a stop token. Prompts of like length share a batch."""
    answers: list[list[int]] = [[] for _ in prompts]
    by_length = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    for start in range(0, len(prompts), BATCH_SIZE_ROWS):
        chosen = by_length[start : start + BATCH_SIZE_ROWS]
        longest = max(len(prompts[index]) for index in chosen)
        padded_length = -(-longest // LENGTH_STEP_TOKENS) * LENGTH_STEP_TOKENS
        tokens = np.zeros((BATCH_SIZE_ROWS, padded_length), np.int32)
        # Rows without a prompt ask about one token, so that a last batch compiles like the others.
        lengths = np.ones(BATCH_SIZE_ROWS, np.int32)
        for row, index in enumerate(chosen):
            tokens[row, : len(prompts[index])] = prompts[index]
            lengths[row] = len(prompts[index])
        generated = generate(
            model,
            jnp.asarray(tokens),
            jnp.asarray(lengths),
            jax.random.key(0),
            max_new_tokens=max_new_tokens,
            stop_ids=(END.id, EOS.id),
            sampling=Sampling(),
        )
        for row, index in enumerate(chosen):
            answers[index] = np.asarray(generated.tokens[row, : int(generated.lengths_tokens[row])]).tolist()
    return answers
