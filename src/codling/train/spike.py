"""Loss spikes: when the loss jumps, go back to the checkpoint before and on with other data.

Source: arXiv 2204.02311 (PaLM) section 5.1, where a run was set back some 100 steps and the batches around the spike
were skipped; the same batches did no harm from another state of the model. Here it needs nobody to watch, and it is off
unless a recipe asks for it. Differs: only the batches between the checkpoint and the spike are skipped.

Whatever is decided follows from the losses so far, the configuration, and the number of the step: a run that is killed
at any moment goes on from its checkpoint to the same decision.
"""

import statistics
from collections import deque
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import pydantic

from codling.config import config


@config
class SpikeConfig:
    """What counts as a spike, and how often to go back."""

    threshold_nats: float
    """A loss this far above the median of the last steps is a spike. A difference and not a factor: losses are logs."""
    window_steps: int = 100
    """Steps that the median is over; before there are so many, nothing is a spike."""
    max_skips: int = 3
    """Spikes of one stage that are skipped; the next one stops it."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> "SpikeConfig":
        if self.threshold_nats <= 0 or self.window_steps < 1 or self.max_skips < 0:
            raise ValueError("threshold_nats must be > 0, window_steps >= 1, max_skips >= 0")
        return self


class Skip(NamedTuple):
    """One time that a run went back."""

    resumed_step: int
    """The step whose checkpoint it went on from."""
    spike_step: int
    """As many batches as lie between the two were skipped."""
    spike_loss: float
    median_loss: float


def skip_figures(skips: Sequence[Skip]) -> dict[str, Any]:
    """What a manifest says of them: nothing where there were none."""
    return {"loss_spikes_skipped": [skip._asdict() for skip in skips]} if skips else {}


class SpikeWatch:
    """The last losses, and what was skipped. Its state belongs into the checkpoint."""

    FIRST_STATE: ClassVar[dict[str, Any]] = {"losses": [], "skips": []}

    def __init__(self, config: SpikeConfig | None) -> None:
        """Watch, or, without a configuration, see nothing."""
        self._config = config
        self._losses: deque[float] = deque(maxlen=config.window_steps if config else 0)
        self.skips: tuple[Skip, ...] = ()

    @property
    def is_exhausted(self) -> bool:
        """Whether no more spikes may be skipped."""
        return self._config is None or len(self.skips) >= self._config.max_skips

    @property
    def median(self) -> float:
        """Of the last losses."""
        return statistics.median(self._losses)

    def is_spike(self, loss: float) -> bool:
        """Judge the loss of a step by those before it, and unless it is a spike take it into account from now on."""
        if self._config is None:
            return False
        is_full = len(self._losses) == self._config.window_steps
        if is_full and loss > self.median + self._config.threshold_nats:
            return True
        self._losses.append(loss)
        return False

    def get_state(self) -> dict[str, Any]:
        """Losses and skips, as JSON values."""
        return {"losses": list(self._losses), "skips": [skip._asdict() for skip in self.skips]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go to where `get_state` was called."""
        self._losses.clear()
        self._losses.extend(state["losses"])
        self.skips = tuple(Skip(**skip) for skip in state["skips"])
