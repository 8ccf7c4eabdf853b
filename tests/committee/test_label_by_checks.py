"""Checks as a labeler: the better score wins, by the level of the difference; nothing is guessed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codling.committee.candidates import CandidatePair
from codling.committee.label_by_checks import ChecksConfig, LevelThresholds, answer_of
from codling.committee.label_noise import NoiseConfig
from codling.committee.labeler import SetAside, Verdict
from codling.config import from_dict, to_dict
from codling.errors import UserError
from codling.posttrain.gradings import Gradings, Truthfulness
from codling.posttrain.levels import Level
from codling.rewards.check import WeightedCheck, WeightedPart, score
from codling.rewards.format import FormatCheck
from codling.rewards.tool_call import ToolCallCheck
from codling.skills.constraints import Includes
from codling.skills.skill import Answer
from codling.tokenizer.messages import Message, ToolCall
from tests.committee.made_pairs import make_pair, work_on

LETTERS = FormatCheck(constraints=tuple(Includes(words=(letter,)) for letter in "abcdefghij"))
"""Ten constraints: an answer scores a tenth for each letter."""


def label(*pairs: CandidatePair, config: ChecksConfig | None = None) -> list[Verdict | SetAside]:
    """Each by itself: two orders of the same answers have one id."""
    labeler = config or ChecksConfig()
    return [dict(labeler.label(work_on([pair], Path())))[pair.id] for pair in pairs]


def letters(count: int) -> str:
    return " ".join("abcdefghij"[:count]) or "z"


def test_the_right_answer_wins_with_its_grades() -> None:
    truthful, not_so = (Gradings(truthfulness=grade) for grade in (Truthfulness.TRUTHFUL, Truthfulness.UNTRUTHFUL))
    assert label(make_pair("8", "7"), make_pair("7", "8")) == [
        Verdict(better=1, level=Level.SIGNIFICANTLY_BETTER, gradings=(not_so, truthful)),
        Verdict(better=0, level=Level.SIGNIFICANTLY_BETTER, gradings=(truthful, not_so)),
    ]


@given(st.integers(0, 10), st.integers(0, 10))
def test_levels_follow_from_the_difference(first: int, second: int) -> None:
    (result,) = label(make_pair(letters(first) + ".", letters(second), check=LETTERS))
    difference = abs(first - second)
    if difference == 0:
        assert result is SetAside.TIE
        return
    assert isinstance(result, Verdict)
    assert result.better == int(second > first)
    expected = (
        Level.SIGNIFICANTLY_BETTER
        if difference >= 8
        else Level.BETTER
        if difference >= 5
        else Level.SLIGHTLY_BETTER
        if difference >= 3
        else Level.NEGLIGIBLY_BETTER
    )
    assert result.level is expected


def test_a_difference_of_rounding_is_a_tie() -> None:
    """The first two weigh as much as the third, but for rounding."""
    weights = {"a": 0.1, "b": 0.7, "c": 0.8}
    parts = [WeightedPart(weight=weight, check=includes(letter)) for letter, weight in weights.items()]
    check = WeightedCheck(parts=tuple(parts))
    assert score(check, Answer("a b")) != score(check, Answer("c"))
    assert label(make_pair("a b", "c", check=check)) == [SetAside.TIE]


def includes(letter: str) -> FormatCheck:
    return FormatCheck(constraints=(Includes(words=(letter,)),))


def test_what_cannot_be_told_is_set_aside() -> None:
    assert label(make_pair("7", "8", check=None), make_pair("5", "6")) == [SetAside.NO_CHECK, SetAside.TIE]


def test_calls_get_partial_credit_where_the_check_gives_it() -> None:
    calls = [
        Message(role="assistant", tool_calls=(ToolCall(name="f", arguments=arguments),))
        for arguments in ({"a": 1, "b": 2}, {"a": 1, "b": 3}, {"a": 0})
    ]
    for partial_credit in (False, True):
        check = ToolCallCheck(name="f", arguments={"a": 1, "b": 2}, partial_credit=partial_credit)
        whole, parts = label(make_pair(calls[0], calls[1], check=check), make_pair(calls[2], calls[1], check=check))
        assert isinstance(whole, Verdict)
        assert whole.level is (Level.SLIGHTLY_BETTER if partial_credit else Level.SIGNIFICANTLY_BETTER)
        assert isinstance(parts, Verdict) if partial_credit else parts is SetAside.TIE


def test_messages_are_answers() -> None:
    call = ToolCall(name="f", arguments={"a": 1})
    answer = answer_of(Message(role="assistant", content="so", tool_calls=(call,)))
    assert answer == ("so", ({"name": "f", "arguments": {"a": 1}},))
    assert answer_of(Message(role="assistant", tool_calls=(call,))).text == ""


def test_noise_mistakes_one_answer_for_the_other_at_its_rate_and_says_so() -> None:
    pairs = [make_pair("7", f"{wrong}") for wrong in range(100, 500)]
    noisy = ChecksConfig(noise=NoiseConfig(significantly_better=0.25))
    right, mixed = label(*pairs), label(*pairs, config=noisy)
    flips = [one != other for one, other in zip(right, mixed, strict=True)]
    assert all(
        isinstance(one, Verdict) and other in (one, one.swapped) for one, other in zip(right, mixed, strict=True)
    )
    assert 0.15 < sum(flips) / len(flips) < 0.35
    assert label(*pairs, config=noisy) == mixed
    assert (ChecksConfig().name, noisy.name) == ("rule: checks", "rule: checks, with simulated errors")


def test_what_is_known_is_not_judged_again(tmp_path: Path) -> None:
    pairs = [make_pair("7", "8"), make_pair("7", "9")]
    assert [pair_id for pair_id, _ in ChecksConfig().label(work_on(pairs, tmp_path, [pairs[0].id]))] == [pairs[1].id]


def test_round_trip() -> None:
    config = ChecksConfig(thresholds=LevelThresholds(better=0.6), noise=NoiseConfig(seed=3))
    assert from_dict(ChecksConfig, to_dict(config), source="x") == config


@pytest.mark.parametrize("change", [{"better": 0.75}, {"better": 0.2}, {"slightly_better": 0.0}, {"better": 1.5}])
def test_bad_thresholds_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(UserError, match="must fall from level to level"):
        from_dict(ChecksConfig, {"thresholds": change}, source="x")
