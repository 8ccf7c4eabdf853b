"""A model's own answers to prompts, many at a time."""

from collections.abc import Sequence
from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Int

from codling.model.generate import Generated, Sampling, generate
from codling.model.transformer import Transformer
from codling.tokenizer.special_tokens import END, EOS
from codling.train.sharding import by_rows, local_copies, local_mesh

BATCH_SIZE_ROWS = 64
LENGTH_STEP_TOKENS = 64
"""Prompts are padded up to a multiple of this: one compilation for each multiple that occurs."""


def greedy_answers(model: Transformer, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[list[int]]:
    """The most likely continuation of each prompt, up to a stop token. Prompts of like length share a batch."""
    answers: list[list[int]] = [[] for _ in prompts]
    mesh = local_mesh(BATCH_SIZE_ROWS)
    model = local_copies(model, mesh)
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
        generated = jax.device_get(_answer(model, tokens, lengths, mesh=mesh, max_new_tokens=max_new_tokens))
        for row, index in enumerate(chosen):
            answers[index] = np.asarray(generated.tokens[row, : int(generated.lengths_tokens[row])]).tolist()
    return answers


@partial(jax.jit, static_argnames=("mesh", "max_new_tokens"))
def _answer(
    model: Transformer,
    tokens: Int[Array, "B T"],
    lengths_tokens: Int[Array, " B"],
    *,
    mesh: Mesh,
    max_new_tokens: int,
) -> Generated:
    """One batch; each device goes on for as long as its own answers do."""

    def of_rows(model: Transformer, tokens: Array, lengths_tokens: Array) -> Generated:
        return generate(
            model,
            tokens,
            lengths_tokens,
            jax.random.key(0),
            max_new_tokens=max_new_tokens,
            stop_ids=(END.id, EOS.id),
            sampling=Sampling(),
        )

    return by_rows(of_rows, mesh)(model, tokens, lengths_tokens)
