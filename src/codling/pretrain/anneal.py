"""A temperature that falls from step to step, handed to the loss with the batch.

The loss of a step knows its parameters and its batch. So the temperature comes with the batch, as an array like the
rest of it: nothing is compiled again as it changes, and a run that is resumed at a batch goes on at its temperature.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import pydantic
from jaxtyping import Float

from codling.config import config
from codling.data.loader import Batch, BatchLoader


@config
class AnnealConfig:
    """A geometric fall from the first step to the last."""

    start_temperature: float = 0.3
    """Ours, like the end (unknown in the report); from 0.1 to 1 the start changed little (`bench/results/LOG.md`)."""
    end_temperature: float = 1e-5
    """So low that no unit is left between 0 and 1: at 0.01 some three units a layer were."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> "AnnealConfig":
        if not 0 < self.end_temperature <= self.start_temperature:
            raise ValueError("temperatures must fall and stay positive: 0 < end_temperature <= start_temperature")
        return self


def temperatures(config: AnnealConfig, num_steps: int) -> Float[np.ndarray, " N"]:
    """The temperature of each step."""
    return np.geomspace(config.start_temperature, config.end_temperature, num_steps).astype(np.float32)


class AnnealedBatch(NamedTuple):
    """Rows, and the temperature of their step, once for each row: devices share a batch out by rows."""

    rows: Batch
    temperature: Float[np.ndarray, " B"]

    @property
    def tokens(self) -> np.ndarray | jax.Array:
        """The rows' tokens, which the loop counts."""
        return self.rows.tokens


class AnnealedLoader:
    """A loader's batches, each with its temperature; after the last step, the end temperature."""

    def __init__(self, loader: BatchLoader, temperatures: Float[np.ndarray, " N"]) -> None:
        self._loader = loader
        self._temperatures = temperatures

    def __next__(self) -> AnnealedBatch:
        step = min(self._loader.get_state()["next_index"], len(self._temperatures) - 1)
        rows = next(self._loader)
        return AnnealedBatch(rows, np.full(len(rows.tokens), self._temperatures[step]))

    def get_state(self) -> dict[str, Any]:
        """Where the loader is, which says where the temperature is."""
        return self._loader.get_state()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go to a place that `get_state` named."""
        self._loader.set_state(state)
