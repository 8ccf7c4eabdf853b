"""Learning-rate schedules: warm-up, then cosine to a fraction of the peak, or constant."""

import enum

import numpy as np
import optax  # type: ignore[import-untyped]
import pydantic
from jaxtyping import Float

from codling.config import config


class Decay(enum.StrEnum):
    """What the rate does after the warm-up."""

    COSINE = "cosine"
    CONSTANT = "constant"


@config
class ScheduleConfig:
    """How the learning rate moves over the steps of one stage."""

    peak_rate: float
    """Learning rate at the end of the warm-up."""
    warmup_steps: int = 0
    """Steps of linear rise from zero."""
    final_fraction: float = 1.0
    """Rate at the last step as a fraction of the peak (arXiv 2407.21075: 0.005 core, 0.001 continued)."""
    decay: Decay = Decay.COSINE

    @pydantic.model_validator(mode="after")
    def _check(self) -> "ScheduleConfig":
        if self.peak_rate <= 0 or self.warmup_steps < 0 or not 0 <= self.final_fraction <= 1:
            raise ValueError("peak_rate must be > 0, warmup_steps >= 0, final_fraction within 0 and 1")
        return self


def rates_of_updates(config: ScheduleConfig, num_steps: int) -> Float[np.ndarray, " N"]:
    """The learning rate of each update of a stage: the first has the first rate of the rise, not zero."""
    if config.decay is Decay.CONSTANT:
        rise = optax.linear_schedule(0.0, config.peak_rate, config.warmup_steps)
        schedule = optax.join_schedules([rise, optax.constant_schedule(config.peak_rate)], [config.warmup_steps])
    else:
        schedule = optax.warmup_cosine_decay_schedule(
            init_value=0.0,
            peak_value=config.peak_rate,
            warmup_steps=config.warmup_steps,
            decay_steps=max(num_steps, config.warmup_steps + 1),
            end_value=config.peak_rate * config.final_fraction,
        )
    return np.asarray(schedule(np.arange(1, num_steps + 1, dtype=np.float32)), np.float32)
