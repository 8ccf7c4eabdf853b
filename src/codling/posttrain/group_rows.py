"""Prompts with several answers each as rows for the model: a prompt once, and all answers to it behind it.

Where this sits in the recipe: what online training scores and learns from. With an answer a row the prompt would be
computed once an answer, and every row be as long as the longest of them. Here answers continue their prompt and do not
see each other, and a row holds as many such groups as fit:

    tokens       p0 p1 p2 a0 a1 b0 b1 b2 q0 q1 c0  0
    segment_ids   1  1  1  2  2  3  3  3  4  4  5  0
    prefix_ids    1  1  1  1  1  1  1  1  4  4  4  0     the segment that the token's own continues
    positions     0  1  2  3  4  3  4  5  0  1  2  0

An answer's last token predicts nothing and is left out; its first one is predicted at the prompt's last, as that of
every other answer to the prompt. Price: a row's attention is computed for pairs of answers, too, and masked.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Int

from codling.model.execution import Execution
from codling.model.partition import DATA, Partition
from codling.model.transformer import Transformer
from codling.posttrain.answer_log_probs import TokenLogProbs, answer_log_probs
from codling.train.sharding import local_rows, place_rows, splits_rows_only

SHORTEST_ROW_TOKENS = 128
"""The shortest row; longer ones are twice as long, four times and so on: few lengths, as each is compiled by itself."""
ANSWER_STEP_TOKENS = 8
"""Answers have room for a multiple of this, for meshes that split tokens."""
PADDING = 0
"""The segment of what fills a row up."""

T = TypeVar("T")


class GroupRows(NamedTuple):
    """R rows that hold prompts with all B answers to them, laid out for the devices of a mesh."""

    tokens: Int[np.ndarray, "R T"]
    segment_ids: Int[np.ndarray, "R T"]
    prefix_ids: Int[np.ndarray, "R T"]
    positions: Int[np.ndarray, "R T"]
    places: Int[np.ndarray, "B M"]
    """Where the hidden state lies that predicts the token, in the rows of its device end to end; 0 after the answer."""
    targets: Int[np.ndarray, "B M"]
    mask: Bool[np.ndarray, "B M"]
    """On for the answer's tokens, its end included."""


class Groups:
    """G prompts and A answers to each: answer a to prompt g is number g * A + a of all B = G * A."""

    def __init__(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], max_answer_tokens: int
    ) -> None:
        """Take the answers in the order of their prompts, as many for every prompt.

        Errors: `ValueError` for an answer without tokens, or of more than max_answer_tokens.
        """
        if not all(answers):
            raise ValueError(f"answer {[len(answer) for answer in answers].index(0)} has no tokens, not even an end")
        self._prompts, self._answers = prompts, answers
        self.num_answers = len(answers) // len(prompts)
        shape = len(answers), _round_up(max_answer_tokens, ANSWER_STEP_TOKENS)
        self.targets, self.mask = np.zeros(shape, np.int32), np.zeros(shape, bool)
        for number, answer in enumerate(answers):
            self.targets[number, : len(answer)], self.mask[number, : len(answer)] = answer, True
        inputs = (self.mask.sum(axis=1) - 1).reshape(len(prompts), -1).sum(axis=1)
        self.lengths_tokens: Int[np.ndarray, " G"] = np.asarray([len(prompt) for prompt in prompts]) + inputs
        self.row_length_tokens = SHORTEST_ROW_TOKENS
        while self.row_length_tokens < self.lengths_tokens.max():
            self.row_length_tokens *= 2

    def __len__(self) -> int:
        return len(self._prompts)

    def numbers(self, groups: Int[np.ndarray, " g"]) -> Int[np.ndarray, " b"]:
        """Of the answers to some of the prompts, in their order."""
        found: Int[np.ndarray, " b"] = (groups[:, None] * self.num_answers + np.arange(self.num_answers)[None]).ravel()
        return found

    def spread(self, groups: Int[np.ndarray, " g"], mesh: Mesh) -> Int[np.ndarray, " g"]:
        """Reorder groups so that each device of the mesh has as many of them, and about as many tokens."""
        num_parts = _num_parts(mesh)
        parts: list[list[int]] = [[] for _ in range(num_parts)]
        for group in sorted(groups.tolist(), key=lambda group: -self.lengths_tokens[group]):
            with_room = [part for part in parts if len(part) * num_parts < len(groups)]
            min(with_room, key=lambda part: sum(self.lengths_tokens[part])).append(group)
        return np.concatenate([np.asarray(part, np.int64) for part in parts])

    def rows(self, groups: Int[np.ndarray, " g"], mesh: Mesh) -> GroupRows:
        """Lay out groups, of which each device gets as many; they keep the order that they come in."""
        num_parts = _num_parts(mesh)
        parts = np.split(groups, num_parts)
        plans = [_first_fit(self.lengths_tokens[part], self.row_length_tokens) for part in parts]
        most_rows = max(row + 1 for plan in plans for row, _ in plan)
        num_rows = _round_up(num_parts * most_rows, Partition(mesh).num_parts("rows"))
        tokens, segment_ids, prefix_ids, positions = np.zeros((4, num_rows, self.row_length_tokens), np.int32)
        numbers = self.numbers(groups)
        places = np.zeros((len(groups), self.num_answers, self.targets.shape[1]), np.int32)
        for index, group in enumerate(groups.tolist()):
            part, within = divmod(index, len(groups) // num_parts)
            row, begin = plans[part][within]
            of_row = [array[part * most_rows + row] for array in (tokens, segment_ids, prefix_ids, positions)]
            places[index] = self._write(group, of_row, begin) + row * self.row_length_tokens
        places = places.reshape(len(numbers), -1) * self.mask[numbers]
        return GroupRows(tokens, segment_ids, prefix_ids, positions, places, self.targets[numbers], self.mask[numbers])

    def _write(self, group: int, row: Sequence[np.ndarray], begin: int) -> Int[np.ndarray, "A M"]:
        """Write a group into a row from `begin` on; where each answer's tokens are predicted comes back."""
        tokens, segment_ids, prefix_ids, positions = row
        prompt, segment = self._prompts[group], int(segment_ids.max()) + 1
        end = begin + len(prompt)
        tokens[begin:end], segment_ids[begin:end], positions[begin:end] = prompt, segment, np.arange(len(prompt))
        prefix_ids[begin : begin + self.lengths_tokens[group]] = segment
        places = np.zeros((self.num_answers, self.targets.shape[1]), np.int32)
        places[:, 0] = end - 1
        for number in range(self.num_answers):
            answer = self._answers[group * self.num_answers + number]
            start, end = end, end + len(answer) - 1
            tokens[start:end], segment_ids[start:end] = answer[:-1], segment + 1 + number
            positions[start:end] = len(prompt) + np.arange(end - start)
            places[number, 1 : len(answer)] = np.arange(start, end)
        return places


def place_groups(tree: T, mesh: Mesh) -> T:
    """Lay whole arrays of rows and of answers on the mesh: a device has the answers of the rows that it has."""

    def put(values: np.ndarray) -> Any:
        return place_rows(values[local_rows(mesh, len(values))], mesh, len(values))

    placed: T = jax.tree.map(put, tree)
    return placed


def group_log_probs(
    model: Transformer, rows: GroupRows, execution: Execution, *, with_entropies: bool = False
) -> TokenLogProbs:
    """Log-probabilities of all answers' tokens under a model, [B, M], differentiable in it.

    The rows are a device's own where it runs by itself (`train.step`), else those of the whole mesh.
    """
    tokens, segment_ids, prefix_ids, positions, places, targets, mask = map(jnp.asarray, rows)
    hidden = model(tokens, positions, segment_ids, prefix_ids, rope_theta=model.config.rope_theta, execution=execution)
    taken = hidden.reshape(-1, hidden.shape[-1])[places]
    return answer_log_probs(taken, model.embedding, targets, mask, with_entropies=with_entropies)


def _num_parts(mesh: Mesh) -> int:
    """Of a batch: where rows alone are split, each device runs by itself, and knows its own rows only."""
    return mesh.shape[DATA] if splits_rows_only(mesh) else 1


def _first_fit(lengths: Int[np.ndarray, " g"], row_length_tokens: int) -> list[tuple[int, int]]:
    """Row and begin of each length, the longest laid out first and each in the first row that has room."""
    plan, used = [(0, 0)] * len(lengths), list[int]()
    for index in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[index])
        row = next((row for row, begin in enumerate(used) if begin + length <= row_length_tokens), len(used))
        if row == len(used):
            used.append(0)
        plan[index] = row, used[row]
        used[row] += length
    return plan


def _round_up(length: int, step: int) -> int:
    return -(-length // step) * step
