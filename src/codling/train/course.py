"""The course of a run: its state after a step, its place in the data, and the ways back to an earlier step.

What belongs to a step is saved together and comes back together: parameters, optimizer and step number as arrays, the
loader's place and the spike watch beside them. Random keys are made from the stage's key and the step number.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
from orbax.checkpoint.utils import to_shape_dtype_struct

from codling.errors import UserError
from codling.train.checkpoint import Checkpoints, Restored
from codling.train.spike import Skip, SpikeWatch
from codling.train.state import TrainState


@runtime_checkable
class Loader(Protocol):
    """An endless iterator of batches that can say where it is and go there."""

    def __next__(self) -> Any: ...

    def get_state(self) -> dict[str, Any]:
        """Where it is, as JSON values."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Go to a place that `get_state` named."""


class Place(NamedTuple):
    """Where a run stands: a state, and the number of updates that made it."""

    state: TrainState[Any]
    step: int


class Course:
    """One run through its data, from `first_state` or from a checkpoint on."""

    def __init__(
        self,
        name: str,
        checkpoints: Checkpoints,
        loader: Loader,
        watch: SpikeWatch,
        first_state: Callable[[], TrainState[Any]],
        *,
        save_every_steps: int,
    ) -> None:
        self._name, self._checkpoints, self._loader, self._watch = name, checkpoints, loader, watch
        self._first_state, self._save_every_steps = first_state, save_every_steps

    def resume(self) -> Place:
        """Go to the newest checkpoint that is whole, or to the beginning."""
        restored = self._checkpoints.restore(self._like())
        if restored is not None:
            self._loader.set_state(restored.position["loader"])
        return self._place(restored)

    def save(self, place: Place) -> None:
        """Begin to write a checkpoint; the state may be changed when this returns."""
        position = {"loader": self._loader.get_state(), "spikes": self._watch.get_state()}
        self._checkpoints.save(place.step, place.state, position)

    def skip_back(self, spike_step: int, loss: float) -> Place:
        """Go to the last scheduled checkpoint before a spike, and leave the loader behind the data that it read.

        Checkpoints that SIGTERM left between the two are passed over, so that the course does not depend on them.
        Errors: `UserError` where no more spikes may be skipped.
        """
        median, skips = self._watch.median, self._watch.skips
        if self._watch.is_exhausted:
            raise UserError(
                f"{self._name}: loss {loss:.3f} at step {spike_step} is a spike (median {median:.3f}) and "
                f"{len(skips)} were skipped already; lower optimizer.schedule.peak_rate or raise spike.max_skips, "
                "the newest checkpoint is kept"
            )
        scheduled_step = (spike_step - 1) // self._save_every_steps * self._save_every_steps
        place = self._place(self._checkpoints.go_back(scheduled_step, self._like()))
        self._watch.skips = (*skips, Skip(place.step, spike_step, loss, median))
        return place

    def _like(self) -> TrainState[Any]:
        """A state's shapes and shardings: a second state beside the one that is read may be more than memory holds."""
        like: TrainState[Any] = jax.tree.map(to_shape_dtype_struct, self._first_state())
        return like

    def _place(self, restored: Restored | None) -> Place:
        if restored is None:
            self._watch.set_state(SpikeWatch.FIRST_STATE)
            return Place(self._first_state(), 0)
        self._watch.set_state(restored.position["spikes"])
        return Place(restored.state, restored.step)
