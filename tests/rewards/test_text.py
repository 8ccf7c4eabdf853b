import pytest

from codling.rewards.text import TextCheck, score_text


def test_case_spaces_and_a_full_stop_do_not_count() -> None:
    check = TextCheck(texts=("In the park.", "at home"))
    assert score_text(check, " in  the PARK") == 1.0
    assert score_text(check, "At home.") == 1.0
    assert score_text(check, "in the garden") == 0.0
    assert score_text(check, "") == 0.0


@pytest.mark.parametrize("texts", [(), ("yes", " .")])
def test_nothing_to_compare_with_is_refused(texts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="texts must hold"):
        TextCheck(texts=texts)
