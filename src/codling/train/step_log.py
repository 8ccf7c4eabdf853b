"""What a running stage says of its steps: records in `metrics.jsonl`, and figures for whoever watches."""

import contextlib
import time
from collections.abc import Sequence

from codling.artifact.workspace import Workspace
from codling.train.metrics import MetricsWriter
from codling.train.optimizer import Rates
from codling.train.spike import Skip
from codling.train.step import StepMetrics


class StepLog(contextlib.ExitStack):
    """The log of one run. To be used in a `with`."""

    def __init__(self, workspace: Workspace, num_steps: int, resume_step: int, *, log_every_steps: int) -> None:
        """Go on after `resume_step`; every `log_every_steps`th step is recorded, and the last."""
        super().__init__()
        self._num_steps, self._log_every_steps = num_steps, log_every_steps
        self._writer = self.enter_context(MetricsWriter(workspace.path, resume_step))
        self._progress = self.enter_context(workspace.progress(num_steps, resume_step))
        self._begin()

    def step(self, step: int, metrics: StepMetrics, rates: Rates, *, num_tokens: int) -> None:
        """Take a step into account, and record it if it is its turn."""
        self._num_tokens += num_tokens
        if step % self._log_every_steps and step != self._num_steps:
            return
        loss, tokens_per_s = float(metrics.loss), self._num_tokens / (time.perf_counter() - self._since_s)
        self._writer.write(
            step,
            loss=loss,
            gradient_norm=float(metrics.gradient_norm),
            learning_rate=float(rates.learning),
            tokens_per_s=tokens_per_s,
            **{name: float(value) for name, value in metrics.metrics.items()},
        )
        self._progress.update(step, loss=loss, tokens_per_s=tokens_per_s)
        self._begin()

    def go_back(self, step: int, skips: Sequence[Skip]) -> None:
        """Drop what came after `step`, and record at the step after it why the data differ from there on."""
        self._writer.go_back(step)
        for skip in skips:
            if skip.resumed_step >= step:
                self._writer.write(step + 1, **skip._asdict())
        self._begin()

    def _begin(self) -> None:
        self._num_tokens, self._since_s = 0, time.perf_counter()
