"""Two models on the same held-out requests: how many more the second gets exactly right, with an interval.

Answers to the same request are compared with each other, so that how hard the requests are cancels out.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from codling.report.formats import Verdict
from codling.report.skill_scores import Z_95, Interval, skill_title

ALL_SKILLS = "All held-out requests"
NUM_HALVINGS = 40
"""Of a stretch of at most 2: to twelve digits."""


class Setting(NamedTuple):
    """Which two of the measured models are compared."""

    side: str
    title: str
    before: str
    after: str


SETTINGS = (
    Setting("server", "Server, aligned", "server_sft", "server"),
    Setting("device", "Device, aligned, not compressed", "device_sft", "device_aligned"),
    Setting("device", "Device, aligned, as shipped", "device_sft", "device"),
)
"""Each against the fine-tuned model that its rounds began with, which is not compressed either."""


class PairedScore(NamedTuple):
    """One kind of request, answered by both."""

    title: str
    num_examples: int
    before: float
    """Share exactly right."""
    after: float
    num_won: int
    """Wrong before, right after."""
    num_lost: int
    interval: Interval
    """Of the difference, 95%."""

    @property
    def difference(self) -> float:
        """After minus before, as a share."""
        return (self.num_won - self.num_lost) / self.num_examples

    @property
    def verdict(self) -> Verdict:
        """Better or worse where the interval leaves out zero."""
        return "better" if self.interval.low > 0 else "worse" if self.interval.high < 0 else "same"


class Comparison(NamedTuple):
    """An aligned model against the fine-tuned one."""

    side: str
    title: str
    overall: PairedScore
    by_skill: tuple[PairedScore, ...]


def comparisons(measured: Mapping[str, Any], sides: Sequence[str]) -> list[Comparison]:
    """Every setting of these sides whose two models were measured; `measured` is what the measuring stage wrote."""
    return [
        _compare(setting, measured[setting.before]["skills"], measured[setting.after]["skills"])
        for setting in SETTINGS
        if setting.side in sides and setting.before in measured and setting.after in measured
    ]


def _compare(setting: Setting, before: Mapping[str, Any], after: Mapping[str, Any]) -> Comparison:
    pairs = {
        skill: [
            (bool(first["exact"]), bool(second["exact"]))
            for first, second in zip(before[skill]["answers"], after[skill]["answers"], strict=True)
        ]
        for skill in after
        if skill in before
    }
    overall = paired_score(ALL_SKILLS, [pair for of_skill in pairs.values() for pair in of_skill])
    by_skill = tuple(paired_score(skill_title(skill), of_skill) for skill, of_skill in pairs.items())
    return Comparison(setting.side, setting.title, overall, by_skill)


def paired_score(title: str, pairs: Sequence[tuple[bool, bool]]) -> PairedScore:
    """Count; a pair says whether the first and whether the second model were right."""
    won = sum(second and not first for first, second in pairs)
    lost = sum(first and not second for first, second in pairs)
    return PairedScore(
        title=title,
        num_examples=len(pairs),
        before=sum(first for first, _ in pairs) / len(pairs),
        after=sum(second for _, second in pairs) / len(pairs),
        num_won=won,
        num_lost=lost,
        interval=paired_interval(won, lost, len(pairs)),
    )


def paired_interval(num_won: int, num_lost: int, num_pairs: int) -> Interval:
    """95% interval of a difference of two shares of the same examples (Tango 1998, Statistics in
    Medicine 17, 891).

    All differences d that the score test does not reject: |won - lost - n d| <= z sqrt(n (2 q + d (1 - d))), with q the
    likeliest share of lost examples if the difference is d. It is to paired shares what Wilson's is to one. Zero lies
    outside exactly where McNemar's test rejects at 5%, so the interval and a verdict by it cannot disagree.
    """
    estimate = (num_won - num_lost) / num_pairs

    def is_rejected(difference: float) -> bool:
        lost = _likeliest_lost(difference, num_won, num_lost, num_pairs)
        variance = num_pairs * max(0.0, 2 * lost + difference * (1 - difference))
        return abs(num_won - num_lost - num_pairs * difference) > Z_95 * math.sqrt(variance)

    def edge(outermost: float) -> float:
        """The statistic only grows with the distance from the estimate: halve the stretch."""
        inner, outer = estimate, outermost
        for _ in range(NUM_HALVINGS):
            middle = (inner + outer) / 2
            inner, outer = (inner, middle) if is_rejected(middle) else (middle, outer)
        return inner

    return Interval(edge(-1.0), edge(1.0))


def _likeliest_lost(difference: float, num_won: int, num_lost: int, num_pairs: int) -> float:
    """The share of lost examples of greatest likelihood among those with this difference: a root of a quadratic."""
    first = 2 * num_pairs
    second = -num_won - num_lost + (2 * num_pairs - num_won + num_lost) * difference
    third = -num_lost * difference * (1 - difference)
    return (math.sqrt(max(0.0, second * second - 4 * first * third)) - second) / (2 * first)
