"""Preference pairs as rows for the model: both answers of a pair side by side, one pair after the other."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from codling.data.loader import Batch
from codling.posttrain.answer_rows import answer_rows
from codling.posttrain.gradings import ASPECTS, grade_numbers
from codling.posttrain.preferences import PreferencePair
from codling.tokenizer.chat_template import encode_chat
from codling.tokenizer.encode import Tokenizer


class EncodedPair(NamedTuple):
    """A pair in tokens. Each answer ends its turn."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]

    @property
    def length_tokens(self) -> int:
        """Of the prompt with the longer answer."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))


class PairBatch(NamedTuple):
    """Rows 2i and 2i + 1 are the better and the other answer of pair i."""

    batch: Batch
    """The loss weights are on the answers' tokens."""
    ends: Int[np.ndarray, " B"]
    """The place of each row's last token, which is the end of the answer's turn."""
    probabilities: Float[np.ndarray, " B"]
    """The soft label of the row's pair."""
    margins: Float[np.ndarray, " B"]
    """The margin of the row's pair."""
    grades: Int[np.ndarray, "B 4"]
    """Of the row's answer; `gradings.MISSING_GRADE` where nobody gave one."""

    @property
    def tokens(self) -> Int[np.ndarray, "B T"] | Int[Array, "B T"]:
        """What the training loop counts, on the host or on the mesh."""
        tokens: Int[np.ndarray, "B T"] | Int[Array, "B T"] = self.batch.tokens
        return tokens


def encode_pair(tokenizer: Tokenizer, pair: PreferencePair) -> EncodedPair:
    """Spell prompt and answers as they would be sampled."""
    tools = pair.prompt.tools or None
    prompt = encode_chat(tokenizer, pair.prompt.messages, tools, add_generation_prompt=True).ids
    answers = [
        encode_chat(tokenizer, (*pair.prompt.messages, answer), tools).ids[len(prompt) :]
        for answer in (pair.chosen, pair.rejected)
    ]
    return EncodedPair(prompt, *answers)


def pair_rows(
    encoded: Sequence[EncodedPair],
    pairs: Sequence[PreferencePair],
    probabilities: Sequence[float],
    margins: Sequence[float],
    row_length_tokens: int,
) -> PairBatch:
    """Lay pairs out. The whole answer stands in the row, its end too: the reward is read off there."""
    prompts = [pair.prompt for pair in encoded for _ in range(2)]
    answers = [answer for pair in encoded for answer in (pair.chosen, pair.rejected)]
    # One place more than the last token predicts: its own target is nothing.
    rows = answer_rows(prompts, [[*answer, 0] for answer in answers], row_length_tokens)
    lengths = np.asarray([len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True)])
    rows.mask[np.arange(len(lengths)), lengths - 1] = False
    gradings = [
        grade_numbers(None if pair.gradings is None else pair.gradings[which])
        for pair in pairs
        for which in (pair.better, 1 - pair.better)
    ]
    return PairBatch(
        rows.batch,
        (lengths - 1).astype(np.int32),
        np.repeat(np.asarray(probabilities, np.float32), 2),
        np.repeat(np.asarray(margins, np.float32), 2),
        np.asarray(gradings, np.int32).reshape(-1, len(ASPECTS)),
    )
