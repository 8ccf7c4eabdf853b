"""Gradings of one answer: four aspects, three grades each (arXiv 2407.21075 section 4.2).

The report names the aspects and the number of grades. The names of the grades are ours; their order is that of the
reward model's grading heads.
"""

from enum import Enum, StrEnum

from codling.config import config

NUM_GRADES = 3
MISSING_GRADE = -1


class InstructionFollowing(StrEnum):
    """Whether the answer does what was asked."""

    NOT_FOLLOWED = "not_followed"
    PARTLY_FOLLOWED = "partly_followed"
    FOLLOWED = "followed"


class Verbosity(StrEnum):
    """Whether the answer is as long as it should be."""

    TOO_SHORT = "too_short"
    RIGHT_LENGTH = "right_length"
    TOO_LONG = "too_long"


class Truthfulness(StrEnum):
    """Whether what the answer says is true."""

    UNTRUTHFUL = "untruthful"
    PARTLY_TRUTHFUL = "partly_truthful"
    TRUTHFUL = "truthful"


class Harmlessness(StrEnum):
    """Whether the answer can do harm."""

    HARMFUL = "harmful"
    SLIGHTLY_HARMFUL = "slightly_harmful"
    HARMLESS = "harmless"


@config
class Gradings:
    """The grades of one answer; an aspect that nobody graded is left out."""

    instruction_following: InstructionFollowing | None = None
    """Whether the answer does what was asked."""
    verbosity: Verbosity | None = None
    """Whether the answer is as long as it should be."""
    truthfulness: Truthfulness | None = None
    """Whether what the answer says is true."""
    harmlessness: Harmlessness | None = None
    """Whether the answer can do harm."""


ASPECTS: tuple[type[Enum], ...] = (InstructionFollowing, Verbosity, Truthfulness, Harmlessness)
"""In the order of the fields, and of the grading heads."""


def grade_numbers(gradings: Gradings | None) -> tuple[int, ...]:
    """One number an aspect, that of the grade in its enumeration; `MISSING_GRADE` where there is none."""
    if gradings is None:
        return (MISSING_GRADE,) * len(ASPECTS)
    grades = (
        gradings.instruction_following,
        gradings.verbosity,
        gradings.truthfulness,
        gradings.harmlessness,
    )
    return tuple(MISSING_GRADE if grade is None else list(type(grade)).index(grade) for grade in grades)
