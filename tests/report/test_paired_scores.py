"""The interval is the inverted score test, agrees with McNemar's, and covers; counts are of the same requests."""

import math
from typing import Any

import numpy as np
import pytest

from codling.report.paired_scores import Comparison, comparisons, paired_interval, paired_score
from codling.report.skill_scores import Z_95


def reference_interval(won: int, lost: int, count: int) -> list[float]:
    """On a grid of differences: the likeliest shares by search instead of by formula, and a score test of each."""
    shares = np.linspace(0, 1, 4001)
    kept = []
    for difference in np.linspace(-1, 1, 1001):
        of_won = shares + difference
        rest = 1 - shares - of_won
        is_possible = (of_won >= -1e-12) & (of_won <= 1 + 1e-12) & (rest >= -1e-12)
        with np.errstate(divide="ignore", invalid="ignore"):
            likelihood = sum(
                np.where(number == 0, 0.0, number * np.log(np.maximum(share, 0)))
                for number, share in ((won, of_won), (lost, shares), (count - won - lost, rest))
            )
        likelihood = np.where(is_possible, likelihood, -np.inf)
        best = shares[np.argmax(likelihood)]
        variance = count * (2 * best + difference - difference**2)
        if abs(won - lost - count * difference) <= Z_95 * math.sqrt(max(0.0, variance)) + 1e-9:
            kept.append(float(difference))
    return [min(kept), max(kept)]


@pytest.mark.parametrize(("won", "lost", "count"), [(12, 2, 50), (0, 0, 40), (3, 9, 30), (5, 0, 20), (10, 10, 100)])
def test_the_interval_is_the_inverted_score_test(won: int, lost: int, count: int) -> None:
    assert list(paired_interval(won, lost, count)) == pytest.approx(reference_interval(won, lost, count), abs=3e-3)


def test_zero_lies_outside_where_mcnemars_test_rejects() -> None:
    for won in range(20):
        for lost in range(20 - won):
            interval = paired_interval(won, lost, 60)
            is_rejected = (won - lost) ** 2 > Z_95**2 * (won + lost)
            assert is_rejected == (not interval.low <= 0 <= interval.high), (won, lost)


def test_swapping_the_models_turns_the_interval_around() -> None:
    forward, back = paired_interval(14, 5, 80), paired_interval(5, 14, 80)
    assert (forward.low, forward.high) == pytest.approx((-back.high, -back.low))
    assert forward.low < 9 / 80 < forward.high


def test_the_ends_stay_within_the_possible() -> None:
    assert paired_interval(10, 0, 10).high == 1.0
    assert paired_interval(0, 10, 10).low == -1.0
    # Nothing differs: what is not seen in n requests is at most z^2 / (n + z^2) frequent.
    assert paired_interval(0, 0, 96).high == pytest.approx(Z_95**2 / (96 + Z_95**2))


@pytest.mark.parametrize(("won", "lost"), [(0.1, 0.1), (0.15, 0.05), (0.02, 0.01)])
def test_the_interval_covers_the_truth_as_often_as_it_says(won: float, lost: float) -> None:
    random = np.random.default_rng(7)
    drawn = random.multinomial(200, [won, lost, 1 - won - lost], size=1000)
    seen: dict[tuple[int, int], bool] = {}
    for a, b, _ in drawn.tolist():
        if (a, b) not in seen:
            low, high = paired_interval(a, b, 200)
            seen[a, b] = low <= won - lost <= high
    assert np.mean([seen[a, b] for a, b, _ in drawn.tolist()]) == pytest.approx(0.95, abs=0.025)


@pytest.mark.parametrize(
    ("won", "lost", "verdict"), [(20, 2, "better"), (2, 20, "worse"), (8, 6, "same"), (0, 0, "same")]
)
def test_the_verdict_is_read_off_the_interval(won: int, lost: int, verdict: str) -> None:
    pairs = [(False, True)] * won + [(True, False)] * lost + [(True, True)] * 30 + [(False, False)] * 20
    score = paired_score("all", pairs)
    assert score.verdict == verdict
    assert (score.num_won, score.num_lost, score.num_examples) == (won, lost, 50 + won + lost)
    assert score.difference == pytest.approx(score.after - score.before)
    assert score.before == (30 + lost) / len(pairs)


def answers(*exact: bool) -> dict[str, Any]:
    return {"answers": [{"exact": one} for one in exact]}


MEASURED = {
    "server_sft": {"skills": {"arithmetic": answers(True, False, False), "formats": answers(True, True)}},
    "server": {"skills": {"arithmetic": answers(True, True, True), "formats": answers(True, False)}},
    "device_sft": {"skills": {"formats": answers(False, True)}},
    "device_aligned": {"skills": {"formats": answers(True, True)}},
    "device": {"skills": {"arithmetic": answers(True, True, True), "formats": answers(False, True)}},
}


def test_each_request_is_compared_with_itself() -> None:
    server, dense, shipped = comparisons(MEASURED, ["server", "device"])
    assert [(score.title, score.num_won, score.num_lost) for score in (server.overall, *server.by_skill)] == [
        ("All held-out requests", 2, 1),
        ("Arithmetic in worked steps", 2, 0),
        ("Short texts in a given form", 0, 1),
    ]
    assert (dense.side, dense.overall.num_won) == ("device", 1)
    # A skill that one of the two was not asked is left out.
    assert shipped.overall.num_examples == 2


def test_what_was_not_measured_or_not_aligned_is_not_compared() -> None:
    def titles(found: list[Comparison]) -> list[str]:
        return [comparison.title for comparison in found]

    assert titles(comparisons(MEASURED, ["server"])) == ["Server, aligned"]
    assert titles(comparisons({**MEASURED, "server_sft": MEASURED["server"]}, [])) == []
    without = {name: values for name, values in MEASURED.items() if name != "device_aligned"}
    assert titles(comparisons(without, ["device"])) == ["Device, aligned, as shipped"]
    assert comparisons({"server": MEASURED["server"]}, ["server", "device"]) == []


def test_answers_to_other_requests_raise() -> None:
    damaged = {**MEASURED, "server": {"skills": {"arithmetic": answers(True), "formats": answers(True, True)}}}
    with pytest.raises(ValueError, match="shorter"):
        comparisons(damaged, ["server"])
