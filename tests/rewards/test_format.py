import pytest

from codling.config import from_dict
from codling.errors import UserError
from codling.rewards.format import FormatCheck
from codling.skills.constraints import Includes, LetterCase, NoCommas
from codling.skills.skill import Answer

ASKED = (Includes(words=("red",)), LetterCase(case="lower"), NoCommas())


@pytest.mark.parametrize(("text", "met"), [("a red dog", 3), ("A red dog", 2), ("A dog, here", 0), ("a big dog", 2)])
def test_the_score_is_the_share_met(text: str, met: int) -> None:
    assert FormatCheck(constraints=ASKED).score(Answer(text)) == pytest.approx(met / 3)
    assert FormatCheck(constraints=ASKED, all_or_nothing=True).score(Answer(text)) == (met == 3)


def test_a_call_has_no_form() -> None:
    assert FormatCheck(constraints=ASKED).score(Answer("a red dog", ({"name": "f", "arguments": {}},))) == 0


def test_bad_input() -> None:
    with pytest.raises(UserError, match="constraints is empty"):
        from_dict(FormatCheck, {"constraints": []}, source="x")
    with pytest.raises(UserError, match="'rhymes' found using 'kind'"):
        from_dict(FormatCheck, {"constraints": [{"kind": "rhymes"}]}, source="x")
