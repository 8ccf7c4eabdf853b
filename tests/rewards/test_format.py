import pytest

from codling.rewards.format import FormatCheck, score_format
from codling.skills.constraints import HasWord, NumWords

CONSTRAINTS = (HasWord(word="cat"), NumWords(most=2))


def test_the_share_that_is_met_or_all_of_it() -> None:
    assert score_format(FormatCheck(constraints=CONSTRAINTS), "a cat") == 1.0
    assert score_format(FormatCheck(constraints=CONSTRAINTS), "a big cat") == 0.5
    assert score_format(FormatCheck(constraints=CONSTRAINTS, needs_all=True), "a big cat") == 0.0
    assert score_format(FormatCheck(constraints=CONSTRAINTS, needs_all=True), "a cat") == 1.0


def test_an_empty_text_meets_nothing() -> None:
    assert score_format(FormatCheck(constraints=(NumWords(most=2),)), " \n") == 0.0


def test_no_constraints_are_refused() -> None:
    with pytest.raises(ValueError, match="name at least one"):
        FormatCheck(constraints=())
