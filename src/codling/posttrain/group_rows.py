"""Prompts with several answers each as rows for the model: a prompt once, and all answers to it behind it.

Where this sits in the recipe: what online training scores and learns from. With an answer a row the prompt would be
computed once an answer, and every row be as long as the longest of them. Here answers continue their prompt and do not
see each other. A row holds as many such groups as fit, or as many answers of one, with the prompt again:

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
"""Rows have this length, or twice, four times and so on."""
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
        self,
        prompts: Sequence[Sequence[int]],
        answers: Sequence[Sequence[int]],
        *,
        max_answer_tokens: int,
        row_length_tokens: int,
    ) -> None:
        """Take the answers in the order of their prompts, as many for every prompt.

        Errors: `ValueError` for an answer without tokens, for one of more than max_answer_tokens, and where a row does
        not hold a prompt with its longest answer.
        """
        if not all(answers):
            raise ValueError(f"answer {[len(answer) for answer in answers].index(0)} has no tokens, not even an end")
        self._prompts, self._answers, self._row_length_tokens = prompts, answers, row_length_tokens
        self.num_answers = len(answers) // len(prompts)
        shape = len(answers), _round_up(max_answer_tokens, ANSWER_STEP_TOKENS)
        self.targets, self.mask = np.zeros(shape, np.int32), np.zeros(shape, bool)
        for number, answer in enumerate(answers):
            self.targets[number, : len(answer)], self.mask[number, : len(answer)] = answer, True
        self._inputs = (self.mask.sum(axis=1) - 1).reshape(len(prompts), -1)
        prompt_lengths = np.asarray([len(prompt) for prompt in prompts])
        if (longest := int((prompt_lengths + self._inputs.max(axis=1)).max())) > row_length_tokens:
            raise ValueError(f"a prompt and an answer have {longest} tokens, a row holds {row_length_tokens}")
        self.lengths_tokens: Int[np.ndarray, " G"] = prompt_lengths + self._inputs.sum(axis=1)
        """Of a prompt with all answers to it, as inputs."""

    def __len__(self) -> int:
        return len(self._prompts)

    def numbers(self, groups: Int[np.ndarray, " g"]) -> Int[np.ndarray, " b"]:
        """Of the answers to some of the prompts, in their order."""
        found: Int[np.ndarray, " b"] = (groups[:, None] * self.num_answers + np.arange(self.num_answers)[None]).ravel()
        return found

    def deal(self, num_batches: int, random: np.random.Generator) -> Int[np.ndarray, "n g"]:
        """All groups at random in batches of about as many tokens: of groups of like length each batch gets one."""
        alike = np.argsort(self.lengths_tokens, kind="stable").reshape(-1, num_batches)
        return random.permuted(alike, axis=1).T

    def spread(self, groups: Int[np.ndarray, " g"], mesh: Mesh) -> Int[np.ndarray, " g"]:
        """Reorder groups so that each device of the mesh has as many of them, and about as many tokens."""
        num_parts = _num_parts(mesh)
        parts: list[list[int]] = [[] for _ in range(num_parts)]
        for group in sorted(groups.tolist(), key=lambda group: -self.lengths_tokens[group]):
            with_room = [part for part in parts if len(part) * num_parts < len(groups)]
            min(with_room, key=lambda part: sum(self.lengths_tokens[part])).append(group)
        return np.concatenate([np.asarray(part, np.int64) for part in parts])

    def rows(self, groups: Int[np.ndarray, " g"], mesh: Mesh) -> GroupRows:
        """Lay out groups, of which each device gets as many; their answers keep the order that the groups come in."""
        num_parts, length = _num_parts(mesh), self._row_length_tokens
        plans = [self._pack(part.tolist()) for part in np.split(groups, num_parts)]
        most_rows = _few_counts(max(piece.row + 1 for plan in plans for piece in plan))
        num_rows = _round_up(num_parts * most_rows, Partition(mesh).num_parts("rows"))
        tokens, segment_ids, prefix_ids, positions = np.zeros((4, num_rows, length), np.int32)
        places = np.zeros((len(self), self.num_answers, self.targets.shape[1]), np.int32)
        for part, plan in enumerate(plans):
            for piece in plan:
                row = part * most_rows + piece.row
                found = self._write(piece, tokens[row], segment_ids[row], prefix_ids[row], positions[row])
                places[piece.group, piece.answers] = found + piece.row * length
        numbers = self.numbers(groups)
        mask, targets = self.mask[numbers], self.targets[numbers]
        return GroupRows(
            tokens, segment_ids, prefix_ids, positions, places[groups].reshape(mask.shape) * mask, targets, mask
        )

    def _pack(self, groups: Sequence[int]) -> list["_Piece"]:
        """Which answers of which group go where, the longest groups first; whole where a row has room."""
        plan, used = list[_Piece](), list[int]()
        for group in sorted(groups, key=lambda group: -self.lengths_tokens[group]):
            inputs, prompt_length = self._inputs[group], len(self._prompts[group])
            left = np.argsort(-inputs, kind="stable").tolist()
            while left:
                wanted = prompt_length + int(inputs[left].sum())
                fitting = [row for row, begin in enumerate(used) if begin + wanted <= self._row_length_tokens]
                # A part of the group pays for the prompt again, and must be worth it.
                part = prompt_length + max(int(inputs[left[-1]]), int(inputs[left].sum()) // 3)
                roomy = [row for row, begin in enumerate(used) if begin + part <= self._row_length_tokens]
                if fitting:
                    row = max(fitting, key=used.__getitem__)
                elif roomy:
                    row = min(roomy, key=used.__getitem__)
                else:
                    row = len(used)
                    used.append(0)
                begin, taken = used[row], list[int]()
                used[row] += prompt_length
                for answer in left:
                    if used[row] + inputs[answer] <= self._row_length_tokens:
                        taken.append(answer)
                        used[row] += int(inputs[answer])
                plan.append(_Piece(group, taken, row, begin))
                left = [answer for answer in left if answer not in taken]
        return plan

    def _write(
        self,
        piece: "_Piece",
        tokens: Int[np.ndarray, " T"],
        segment_ids: Int[np.ndarray, " T"],
        prefix_ids: Int[np.ndarray, " T"],
        positions: Int[np.ndarray, " T"],
    ) -> Int[np.ndarray, "a M"]:
        """Write a piece into its row; where each answer's tokens are predicted comes back."""
        prompt, segment = self._prompts[piece.group], int(segment_ids.max()) + 1
        end = piece.begin + len(prompt)
        tokens[piece.begin : end], segment_ids[piece.begin : end] = prompt, segment
        positions[piece.begin : end] = np.arange(len(prompt))
        places = np.zeros((len(piece.answers), self.targets.shape[1]), np.int32)
        places[:, 0] = end - 1
        for number, index in enumerate(piece.answers):
            answer = self._answers[piece.group * self.num_answers + index]
            start, end = end, end + len(answer) - 1
            tokens[start:end], segment_ids[start:end] = answer[:-1], segment + 1 + number
            positions[start:end] = len(prompt) + np.arange(end - start)
            places[number, 1 : len(answer)] = np.arange(start, end)
        prefix_ids[piece.begin : end] = segment
        return places


class _Piece(NamedTuple):
    """A prompt with some of its answers in a row."""

    group: int
    answers: list[int]
    """Of the group's, by their place in it."""
    row: int
    """Of its device's."""
    begin: int


def row_length(prompts: Sequence[Sequence[int]], max_answer_tokens: int) -> int:
    """A length for rows of these prompts with answers of at most so many tokens.

    One for a whole run, as each length is compiled by itself. Short rows are cheap in attention; but each of them
    repeats a prompt, so that three prompts of the mean length should fit.
    """
    longest, mean = max(map(len, prompts)), float(np.mean([len(prompt) for prompt in prompts]))
    length = SHORTEST_ROW_TOKENS
    while length < max(longest + max_answer_tokens - 1, 3 * mean):
        length *= 2
    return length


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


def _few_counts(num_rows: int) -> int:
    """So many rows or a few more, as every count is compiled by itself: 1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 20, 24..."""
    return _round_up(num_rows, 1 << max(num_rows > 4, (num_rows - 1).bit_length() - 3))


def _round_up(length: int, step: int) -> int:
    return -(-length // step) * step
