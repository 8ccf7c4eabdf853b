"""A simulated annotator who now and then takes one answer for the other: for experiments on soft labels alone.

The soft labels of the reward model (`posttrain.levels`) say how often an annotator is right at each level. With checks,
which are always right, there is nothing for them to model; this makes labels that are wrong at known rates.
"""

from codling.config import config
from codling.posttrain.levels import Level
from codling.posttrain.prompts import ID_LENGTH_CHARACTERS, content_id


@config
class NoiseConfig:
    """How often the annotator errs, by the level of the pair. The rates are what the report's soft labels leave."""

    significantly_better: float = 0.05
    """1 - p of arXiv 2407.21075 section 4.2, as the three below."""
    better: float = 0.15
    slightly_better: float = 0.25
    negligibly_better: float = 0.35
    seed: int = 0
    """Which pairs are mistaken. The same seed mistakes the same pairs, in whatever order they come."""

    def __post_init__(self) -> None:
        rates = [self.rate(level) for level in Level]
        if not all(0 <= rate <= 0.5 for rate in rates):
            raise ValueError(f"the rates {rates} must lie between 0 and 0.5; beyond it the annotator would know better")

    def rate(self, level: Level) -> float:
        """How often a pair of this level is mistaken."""
        value: float = getattr(self, level.value)
        return value

    def mistakes(self, pair_id: str, level: Level) -> bool:
        """Whether this pair is taken the wrong way around."""
        draw = int(content_id([self.seed, pair_id]), base=16)
        return draw < self.rate(level) * 16.0**ID_LENGTH_CHARACTERS
