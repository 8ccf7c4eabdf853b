"""Labels by the prompts' own checks: the answer with the higher score is better, and by how much follows from both."""

from collections.abc import Iterator
from typing import Literal

from codling.committee.candidates import CandidatePair
from codling.committee.known_grades import known_grades
from codling.committee.label_noise import NoiseConfig
from codling.committee.labeler import PairsToLabel, SetAside, Verdict
from codling.config import config
from codling.posttrain.levels import Level
from codling.rewards.check import score
from codling.skills.skill import Answer
from codling.tokenizer.messages import Message

SCORE_DIGITS = 9
"""Scores are sums of shares: what differs by less than this many decimals differs by rounding."""


@config
class LevelThresholds:
    """The least difference of the scores (0 to 1) at each level; any smaller one is negligible. Ours."""

    significantly_better: float = 0.75
    better: float = 0.5
    slightly_better: float = 0.25

    def __post_init__(self) -> None:
        if not 1 >= self.significantly_better > self.better > self.slightly_better > 0:
            raise ValueError("the thresholds must fall from level to level, and lie above 0 and not above 1")

    def level(self, difference: float) -> Level:
        """The level of a difference above 0."""
        if difference >= self.significantly_better:
            return Level.SIGNIFICANTLY_BETTER
        if difference >= self.better:
            return Level.BETTER
        return Level.SLIGHTLY_BETTER if difference >= self.slightly_better else Level.NEGLIGIBLY_BETTER


@config
class ChecksConfig:
    """Checks as a labeler. A prompt without one, and answers of equal scores, are set aside."""

    kind: Literal["checks"] = "checks"
    thresholds: LevelThresholds = LevelThresholds()
    noise: NoiseConfig | None = None
    """For experiments on soft labels alone: labels made wrong on purpose, their gradings along with them."""

    @property
    def name(self) -> str:
        """A rule; made wrong on purpose, it says so."""
        return "rule: checks" if self.noise is None else "rule: checks, with simulated errors"

    def label(self, work: PairsToLabel) -> Iterator[tuple[str, Verdict | SetAside]]:
        """Score both answers of each pair.

        Errors: `UserError` where code is to be run and this machine cannot isolate it.
        """
        for pair_id, pair in work.left().items():
            yield pair_id, self._verdict(pair_id, pair)

    def _verdict(self, pair_id: str, pair: CandidatePair) -> Verdict | SetAside:
        check = pair.prompt.check
        if check is None:
            return SetAside.NO_CHECK
        first, second = (answer_of(message) for message in pair.answers)
        scores = score(check, first), score(check, second)
        difference = round(abs(scores[0] - scores[1]), SCORE_DIGITS)
        if difference == 0:
            return SetAside.TIE
        verdict = Verdict(
            better=int(scores[1] > scores[0]),
            level=self.thresholds.level(difference),
            gradings=(known_grades(check, first, scores[0]), known_grades(check, second, scores[1])),
        )
        is_mistaken = self.noise is not None and self.noise.mistakes(pair_id, verdict.level)
        return verdict.swapped if is_mistaken else verdict


def answer_of(message: Message) -> Answer:
    """A message of the assistant as checks read it."""
    calls = tuple({"name": call.name, "arguments": call.arguments} for call in message.tool_calls)
    return Answer(message.content or "", calls)
