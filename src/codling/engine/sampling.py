"""How the next token is drawn from logits."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Sampling(NamedTuple):
    """The default takes the most likely token."""

    temperature: float = 0.0
    """Divides the logits; 0 takes the most likely token."""


def draw(logits: Float[np.ndarray, " V"], sampling: Sampling, random: np.random.Generator) -> int:
    """Draw one token; of equally likely ones the first."""
    if sampling.temperature == 0.0:
        return int(np.argmax(logits))
    scaled = (logits.astype(np.float64) - logits.max()) / sampling.temperature
    cumulative = np.cumsum(np.exp(scaled))
    place = int(np.searchsorted(cumulative, random.random() * cumulative[-1], side="right"))
    # Rounding may reach the very end.
    return min(place, len(logits) - 1)
