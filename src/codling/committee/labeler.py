"""What every labeler does: it says which of two answers is better and by how much, or why it does not say.

Where this sits in the recipe: between the pairs that a round samples from the committee and the reward model that is
trained on them (arXiv 2407.21075 section 4.2, where people label; ours may be checks or a judge too). A labeler never
guesses: a pair that it cannot judge is set aside under a reason, and counted.
"""

from collections.abc import Iterator, Mapping, Set
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from codling.committee.candidates import CandidatePair
from codling.config import config
from codling.posttrain.gradings import Gradings
from codling.posttrain.levels import Level


class SetAside(StrEnum):
    """Why a pair got no label."""

    TIE = "neither answer is better"
    NO_CHECK = "the prompt has no check"
    REPEATED = "the same pair stands before it"
    DISAGREE = "the judge prefers another answer when it sees them in the other order"
    TIMED_OUT = "the judge timed out"
    FAILED = "the judge's server failed"
    REFUSED = "the judge's server refused the question"
    NONSENSE = "the judge did not answer in the form asked for"


JUDGE_FAILURES = frozenset({SetAside.TIMED_OUT, SetAside.FAILED, SetAside.REFUSED, SetAside.NONSENSE})
"""Not about the answers: another day the judge may say something, and an interrupted stage asks it again."""


@config
class Verdict:
    """Which answer is better, and by how much."""

    better: int
    """0 or 1, in the order of the pair."""
    level: Level
    """By how much."""
    gradings: tuple[Gradings, Gradings] | None = None
    """The grades of each answer, in the order of the pair, where the labeler knows any."""
    labeler: str | None = None
    """Who gave it, where that differs from pair to pair; none: the labeler's name."""

    def __post_init__(self) -> None:
        if self.better not in (0, 1):
            raise ValueError(f"better is {self.better}; it names an answer, 0 or 1")

    @property
    def swapped(self) -> "Verdict":
        """The same of the two answers in the other order."""
        gradings = None if self.gradings is None else (self.gradings[1], self.gradings[0])
        return Verdict(better=1 - self.better, level=self.level, gradings=gradings, labeler=self.labeler)


class PairsToLabel(NamedTuple):
    """A labeler's work."""

    pairs: Mapping[str, CandidatePair]
    """By id, in the order in which the round sampled them."""
    known: Set[str]
    """Ids that have their result from before the stage was interrupted."""
    directory: Path
    """Where a labeler may leave what people need."""

    def left(self) -> dict[str, CandidatePair]:
        """Those without a result, in order."""
        return {pair_id: pair for pair_id, pair in self.pairs.items() if pair_id not in self.known}


@runtime_checkable
class Labeler(Protocol):
    """Who or what judges pairs. Configurations of labelers are labelers themselves, as checks are."""

    @property
    def name(self) -> str:
        """Who or what it is, as each label will say."""

    def label(self, work: PairsToLabel) -> Iterator[tuple[str, Verdict | SetAside]]:
        """Judge all pairs that are left; each result comes with its pair's id as soon as it is there, in any order.

        Errors: `UserError` at the call for what can be seen before any work; later where going on makes no sense.
        """
