"""By how much one answer is better than another (arXiv 2407.21075 section 4.2), and what a loss makes of it."""

from enum import StrEnum

from codling.config import config


class Level(StrEnum):
    """The four levels of the report, the clearest first."""

    SIGNIFICANTLY_BETTER = "significantly_better"
    BETTER = "better"
    SLIGHTLY_BETTER = "slightly_better"
    NEGLIGIBLY_BETTER = "negligibly_better"


@config
class LevelProbabilities:
    """The soft label by level: how sure it is that the better answer is the better one."""

    significantly_better: float = 0.95
    """arXiv 2407.21075 section 4.2."""
    better: float = 0.85
    """arXiv 2407.21075 section 4.2."""
    slightly_better: float = 0.75
    """arXiv 2407.21075 section 4.2."""
    negligibly_better: float = 0.65
    """arXiv 2407.21075 section 4.2."""

    def __post_init__(self) -> None:
        values = [self.of(level) for level in Level]
        if values[0] > 1.0 or values[-1] < 0.5 or values != sorted(values, reverse=True):
            raise ValueError(f"the probabilities {values} must not rise from level to level, nor leave 0.5 to 1")

    def of(self, level: Level) -> float:
        """The probability of a level."""
        return _value(self, level)


@config
class LevelMargins:
    """The margin by level of the loss that Llama 2 trained its reward models with; here to compare with."""

    significantly_better: float = 1.0
    """arXiv 2307.09288 table 27, the small margin."""
    better: float = 2 / 3
    """arXiv 2307.09288 table 27, the small margin."""
    slightly_better: float = 1 / 3
    """arXiv 2307.09288 table 27, the small margin."""
    negligibly_better: float = 0.0
    """arXiv 2307.09288 table 27, the small margin."""

    def __post_init__(self) -> None:
        values = [self.of(level) for level in Level]
        if values[-1] < 0.0 or values != sorted(values, reverse=True):
            raise ValueError(f"the margins {values} must not rise from level to level, nor fall below 0")

    def of(self, level: Level) -> float:
        """The margin of a level, in the unit of the rewards."""
        return _value(self, level)


def _value(table: LevelProbabilities | LevelMargins, level: Level) -> float:
    value: float = getattr(table, level.value)
    return value
