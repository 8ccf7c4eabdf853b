"""Answers that the policy gives to prompts: several a prompt, many prompts at a time, on the mesh that trains it.

Sampled by the very function that training differentiates (`model.transformer`), with a key/value cache and at
temperature 1, so that the log-probabilities of sampler and trainer differ by rounding alone. Where they do not, every
policy gradient is one of another policy: `posttrain.online` measures the difference in every iteration.

Prompts of different lengths go together: each batch is padded to a multiple of a few tokens, and there is one
compilation for each such length. A prompt is run and kept once, whatever the number of its answers
(`model.answer_cache`); a batch ends when the last of its answers does; the weights are used where they lie, and never
copied.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray

from codling.config import config
from codling.errors import UserError
from codling.model.generate import Generated, Sampling, answer
from codling.model.partition import DATA
from codling.model.transformer import Transformer
from codling.tokenizer.special_tokens import END, EOS
from codling.train.sharding import by_rows, gather, local_rows, place_rows, splits_rows_only

LENGTH_STEP_TOKENS = 64
"""Prompts are padded up to a multiple of this: one compilation for each multiple that occurs."""
STOP_IDS = (END.id, EOS.id)
AS_IT_IS = Sampling(temperature=1.0, top_p=1.0)
"""The policy's own distribution: of anything else, log-probabilities and gradients would be those of another policy."""


@config
class RolloutConfig:
    """How the policy is asked."""

    num_answers: int = 4
    """K: answers to each prompt."""
    max_answer_tokens: int = 64
    """Longer ones are cut off; how many were is counted."""
    batch_size_prompts: int = 32
    """Prompts that are answered at once, over all devices."""

    def __post_init__(self) -> None:
        for name in ("num_answers", "max_answer_tokens", "batch_size_prompts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1")


class Rollouts(NamedTuple):
    """The answers to P prompts, A to each: row p * A + a is answer a to prompt p."""

    answers: Int[np.ndarray, "B M"]
    """Tokens, the stop token included; zero after it."""
    lengths_tokens: Int[np.ndarray, " B"]
    log_probs: Float[np.ndarray, "B M"]
    """Of each token, as the sampler saw it."""
    is_cut_off: Bool[np.ndarray, " B"]
    """Whether the answer met the limit before it ended."""

    def ids(self, row: int) -> list[int]:
        """One answer's tokens."""
        found: list[int] = self.answers[row, : self.lengths_tokens[row]].tolist()
        return found


def roll_out(
    config: RolloutConfig,
    policy: Transformer,
    prompts: Sequence[Sequence[int]],
    key: PRNGKeyArray,
    mesh: Mesh,
    sampling: Sampling = AS_IT_IS,
) -> Rollouts:
    """Answer every prompt config.num_answers times.

    The draws of an answer depend on the key, its prompt's place in `prompts` and its own number, and not on what shares
    its batch or on the mesh. Errors: `UserError` for a prompt that leaves no room for an answer.
    """
    check_room(config, prompts, policy.config.context_length_tokens)
    num_rows = len(prompts) * config.num_answers
    found = Rollouts(
        np.zeros((num_rows, config.max_answer_tokens), np.int32),
        np.zeros(num_rows, np.int32),
        np.zeros((num_rows, config.max_answer_tokens), np.float32),
        np.zeros(num_rows, bool),
    )
    by_length = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    size = -(-config.batch_size_prompts // mesh.shape[DATA]) * mesh.shape[DATA]
    for start in range(0, len(prompts), size):
        chosen = by_length[start : start + size]
        tokens, lengths = pad_prompts([prompts[index] for index in chosen], size)
        # Rows without a prompt answer the first one again, so that a last batch compiles like the others.
        places = np.asarray(chosen + [chosen[0]] * (size - len(chosen)), np.int32)
        own = local_rows(mesh, size)
        placed = place_rows((tokens[own], lengths[own], places[own]), mesh, size)
        drawn = _sample(
            policy,
            *placed,
            key,
            mesh=mesh,
            num_answers=config.num_answers,
            max_new_tokens=config.max_answer_tokens,
            sampling=sampling,
        )
        rows = (np.asarray(chosen)[:, None] * config.num_answers + np.arange(config.num_answers)).reshape(-1)
        answers, lengths_tokens, log_probs = (np.asarray(part)[: len(rows)] for part in gather(drawn))
        found.answers[rows], found.lengths_tokens[rows], found.log_probs[rows] = answers, lengths_tokens, log_probs
        last = np.take_along_axis(answers, lengths_tokens[:, None] - 1, axis=1)[:, 0]
        found.is_cut_off[rows] = ~np.isin(last, STOP_IDS)
    return found


def check_room(config: RolloutConfig, prompts: Sequence[Sequence[int]], context_length_tokens: int) -> None:
    """Errors: `UserError` where a prompt and the longest answer do not fit the context together."""
    for number, prompt in enumerate(prompts):
        if len(prompt) + config.max_answer_tokens > context_length_tokens:
            raise UserError(
                f"prompt {number} has {len(prompt)} tokens; with answers of up to {config.max_answer_tokens} it is "
                f"beyond the context of {context_length_tokens}; leave it out, or lower max_answer_tokens"
            )


def pad_prompts(
    prompts: Sequence[Sequence[int]], num_rows: int
) -> tuple[Int[np.ndarray, "P T"], Int[np.ndarray, " P"]]:
    """Prompts side by side, padded on the right; rows beyond them repeat the first."""
    longest = max(map(len, prompts))
    tokens = np.zeros((num_rows, -(-longest // LENGTH_STEP_TOKENS) * LENGTH_STEP_TOKENS), np.int32)
    lengths = np.zeros(num_rows, np.int32)
    for row in range(num_rows):
        prompt = prompts[row if row < len(prompts) else 0]
        tokens[row, : len(prompt)] = prompt
        lengths[row] = len(prompt)
    return tokens, lengths


@partial(jax.jit, static_argnames=("mesh", "num_answers", "max_new_tokens", "sampling"))
def _sample(
    policy: Transformer,
    tokens: Int[Array, "P T"],
    lengths_tokens: Int[Array, " P"],
    places: Int[Array, " P"],
    key: PRNGKeyArray,
    *,
    mesh: Mesh,
    num_answers: int,
    max_new_tokens: int,
    sampling: Sampling,
) -> Generated:
    """One batch. Where the mesh splits rows only, each device goes on for as long as its own answers do."""

    def of_rows(policy: Transformer, tokens: Array, lengths_tokens: Array, keys: Key[Array, "P A"]) -> Generated:
        return answer(
            policy,
            tokens,
            lengths_tokens,
            keys,
            max_new_tokens=max_new_tokens,
            stop_ids=STOP_IDS,
            sampling=sampling,
        )

    draw = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))
    keys = draw(jax.vmap(jax.random.fold_in, (None, 0))(key, places), np.arange(num_answers))
    if not splits_rows_only(mesh):
        return of_rows(policy, tokens, lengths_tokens, keys)
    return by_rows(of_rows, mesh)(policy, tokens, lengths_tokens, keys)
