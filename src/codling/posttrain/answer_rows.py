"""Prompts with one answer each as rows for the model: what training on pairs reads (online: `group_rows`)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from codling.data.loader import Batch


class AnswerRows(NamedTuple):
    """One prompt and one answer a row, padded on the right. Place t predicts target t, the token after it."""

    tokens: Int[np.ndarray, "B T"]
    targets: Int[np.ndarray, "B T"]
    mask: Bool[np.ndarray, "B T"]
    """On where the target belongs to the answer, its end included."""
    segment_ids: Int[np.ndarray, "B T"]
    """1 on the conversation, 0 on what fills the row up."""

    @property
    def batch(self) -> Batch:
        """As the model's forward pass takes them; the loss weights are the mask."""
        places = np.broadcast_to(np.arange(self.tokens.shape[1], dtype=np.int32), self.tokens.shape)
        weights = self.mask.astype(np.float32)
        return Batch(self.tokens, self.targets, weights, self.segment_ids, places * self.segment_ids)


def answer_rows(
    prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], row_length_tokens: int
) -> AnswerRows:
    """Put each prompt and its answer side by side. The row must hold both, but for the answer's last token."""
    shape = (len(prompts), row_length_tokens)
    rows = AnswerRows(
        np.zeros(shape, np.int32), np.zeros(shape, np.int32), np.zeros(shape, bool), np.zeros(shape, np.int32)
    )
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        whole = [*prompt, *answer]
        length = len(whole) - 1
        rows.tokens[row, :length] = whole[:-1]
        rows.targets[row, :length] = whole[1:]
        rows.mask[row, len(prompt) - 1 : length] = True
        rows.segment_ids[row, :length] = 1
    return rows
