"""What is to be trained: a model, its batches, and how many tokens in all."""

from typing import NamedTuple

from codling.model.config import ModelConfig, named_size

REPORT_TOKENS, REPORT_BATCH_ROWS = 6_300_000_000_000, 4096
"""Core stage (arXiv 2407.21075 section 2.3.1)."""
DEVICE_BATCH_ROWS = 2048
"""The on-device batch is not in the report; AXLearn's honeycrisp 3B has 8.4M tokens."""


class Workload(NamedTuple):
    """One stage of training."""

    name: str
    model: ModelConfig
    batch_size_rows: int
    sequence_length_tokens: int
    num_tokens: float
    """Of the whole stage."""

    @property
    def tokens_per_step(self) -> int:
        """Of the whole batch."""
        return self.batch_size_rows * self.sequence_length_tokens


def workload_of_size(name: str) -> Workload:
    """The report's core stage for a named size. Errors: `UserError` that lists the sizes."""
    model = named_size(name)
    rows = DEVICE_BATCH_ROWS if name.startswith("device") else REPORT_BATCH_ROWS
    return Workload(name, model, rows, model.context_length_tokens, REPORT_TOKENS)
