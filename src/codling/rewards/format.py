"""Check `format`: a text meets constraints on its form (`skills.constraints`)."""

from typing import Literal

from codling.config import config
from codling.skills.constraints import Constraint


@config
class FormatCheck:
    """The text has a form."""

    kind: Literal["format"] = "format"
    constraints: tuple[Constraint, ...]
    needs_all: bool = False
    """Whether one that is not met takes all the credit, or its share."""

    def __post_init__(self) -> None:
        if not self.constraints:
            raise ValueError("constraints is empty; name at least one")


def score_format(check: FormatCheck, text: str) -> float:
    """Share of the constraints that are met; an empty text meets none."""
    if not text.strip():
        return 0.0
    met = [constraint.is_met(text) for constraint in check.constraints]
    return float(all(met)) if check.needs_all else sum(met) / len(met)
