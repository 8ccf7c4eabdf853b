"""Prompts with several answers each as rows for the model: a prompt once, and all answers to it behind it.

Where this sits in the recipe: what online training scores and learns from. With an answer a row the prompt would be
computed once an answer, and every row be as long as the longest of them. Here answers continue their prompt and do not
see each other:

    tokens       p0 p1 p2 a0 a1 b0 b1 b2  0
    segment_ids   1  1  1  2  2  3  3  3  0
    prefix_ids    1  1  1  1  1  1  1  1  0     the segment that the token's own continues
    positions     0  1  2  3  4  3  4  5  0

An answer's last token predicts nothing and is left out; its first one is predicted at the prompt's last, as that of
every other answer to the prompt. Price: a row's attention is computed for pairs of answers, too, and masked.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Int

from codling.model.execution import Execution
from codling.model.transformer import Transformer
from codling.posttrain.answer_log_probs import TokenLogProbs, answer_log_probs
from codling.train.sharding import local_rows, place_rows

SHORTEST_ROW_TOKENS = 128
"""The shortest row; longer ones are twice as long, four times and so on: few lengths, as each is compiled by itself."""
ANSWER_STEP_TOKENS = 8
"""The same of answers, for meshes that split tokens."""
PADDING, PROMPT = 0, 1
"""Segments."""

T = TypeVar("T")


class GroupRows(NamedTuple):
    """R prompts with A answers to each: answer a to prompt r is number r * A + a of all B answers."""

    tokens: Int[np.ndarray, "R T"]
    segment_ids: Int[np.ndarray, "R T"]
    prefix_ids: Int[np.ndarray, "R T"]
    positions: Int[np.ndarray, "R T"]
    places: Int[np.ndarray, "B M"]
    """Where in its row the hidden state lies that predicts the answer's token; 0 after the answer."""
    targets: Int[np.ndarray, "B M"]
    mask: Bool[np.ndarray, "B M"]
    """On for the answer's tokens, its end included."""

    @property
    def lengths_tokens(self) -> Int[np.ndarray, " R"]:
        """Of each row, without what fills it up."""
        lengths: Int[np.ndarray, " R"] = np.sum(self.segment_ids != PADDING, axis=1)
        return lengths

    def take(self, rows: Int[np.ndarray, " r"]) -> "GroupRows":
        """Some of the rows in an order of choice, no longer than the longest of them needs."""
        length = _row_length(int(self.lengths_tokens[rows].max()))
        answers = answers_of(rows, len(self.places) // len(self.tokens))
        of_rows = (values[rows, :length] for values in self[:4])
        return GroupRows(*of_rows, *(values[answers] for values in self[4:]))


def group_rows(
    prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[Sequence[int]]], max_answer_tokens: int
) -> GroupRows:
    """Lay out prompts with the answers to each, which are as many for every prompt and at most so long."""
    num_answers = len(answers[0])
    lengths = [
        len(prompt) + sum(len(answer) - 1 for answer in group) for prompt, group in zip(prompts, answers, strict=True)
    ]
    of_rows = (len(prompts), _row_length(max(lengths)))
    of_answers = (len(prompts), num_answers, _round_up(max_answer_tokens, ANSWER_STEP_TOKENS))
    tokens, segment_ids, positions = (np.zeros(of_rows, np.int32) for _ in range(3))
    places, targets = (np.zeros(of_answers, np.int32) for _ in range(2))
    mask = np.zeros(of_answers, bool)
    for row, (prompt, group) in enumerate(zip(prompts, answers, strict=True)):
        begin = len(prompt)
        tokens[row, :begin], segment_ids[row, :begin], positions[row, :begin] = prompt, PROMPT, np.arange(begin)
        for number, answer in enumerate(group):
            end = begin + len(answer) - 1
            tokens[row, begin:end], segment_ids[row, begin:end] = answer[:-1], PROMPT + 1 + number
            positions[row, begin:end] = len(prompt) + np.arange(end - begin)
            of_answer = (row, number, slice(len(answer)))
            places[of_answer] = [len(prompt) - 1, *range(begin, end)]
            targets[of_answer], mask[of_answer] = answer, True
            begin = end
    prefix_ids = np.where(segment_ids == PADDING, PADDING, PROMPT).astype(np.int32)
    flat = (values.reshape(-1, of_answers[-1]) for values in (places, targets, mask))
    return GroupRows(tokens, segment_ids, prefix_ids, positions, *flat)


def answers_of(rows: Int[np.ndarray, " r"], num_answers: int) -> Int[np.ndarray, " b"]:
    """Numbers of the answers that rows hold, row by row."""
    numbers: Int[np.ndarray, " b"] = (rows[:, None] * num_answers + np.arange(num_answers)[None]).reshape(-1)
    return numbers


def place_groups(tree: T, mesh: Mesh) -> T:
    """Lay whole arrays of rows and of answers on the mesh: a device has the answers of the rows that it has."""

    def put(values: np.ndarray) -> Any:
        return place_rows(values[local_rows(mesh, len(values))], mesh, len(values))

    placed: T = jax.tree.map(put, tree)
    return placed


def group_log_probs(
    model: Transformer, rows: GroupRows, execution: Execution, *, with_entropies: bool = False
) -> TokenLogProbs:
    """Log-probabilities of all answers' tokens under a model, [B, M], differentiable in it."""
    tokens, segment_ids, prefix_ids, positions, places, targets, mask = map(jnp.asarray, rows)
    hidden = model(tokens, positions, segment_ids, prefix_ids, rope_theta=model.config.rope_theta, execution=execution)
    of_rows = places.reshape(hidden.shape[0], -1)
    taken: Float[jax.Array, "R AM D"] = jnp.take_along_axis(hidden, of_rows[:, :, None], axis=1)
    return answer_log_probs(
        taken.reshape(*places.shape, -1), model.embedding, targets, mask, with_entropies=with_entropies
    )


def _row_length(length: int) -> int:
    row_length = SHORTEST_ROW_TOKENS
    while row_length < length:
        row_length *= 2
    return row_length


def _round_up(length: int, step: int) -> int:
    return -(-length // step) * step
