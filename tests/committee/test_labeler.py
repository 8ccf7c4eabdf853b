"""Every configuration of a labeler is a labeler; a verdict turns around with its answers."""

from pathlib import Path

import pytest

from codling.committee.label_by_checks import ChecksConfig
from codling.committee.label_by_judge import JudgeConfig
from codling.committee.label_file import LabelFileConfig
from codling.committee.labeler import Labeler, Verdict
from codling.config import from_dict
from codling.errors import UserError
from codling.posttrain.gradings import Gradings, Truthfulness
from codling.posttrain.levels import Level
from tests.committee.made_pairs import make_pair, work_on


@pytest.mark.parametrize(
    "labeler",
    [ChecksConfig(), JudgeConfig(base_url="http://127.0.0.1:1/v1", model="m"), LabelFileConfig(path=Path("x"))],
)
def test_configurations_are_labelers(labeler: object) -> None:
    assert isinstance(labeler, Labeler)
    assert labeler.name


def test_a_verdict_turns_around_with_its_answers() -> None:
    grades = (Gradings(truthfulness=Truthfulness.TRUTHFUL), Gradings())
    verdict = Verdict(better=0, level=Level.BETTER, gradings=grades, labeler="Ann")
    assert verdict.swapped == Verdict(better=1, level=Level.BETTER, gradings=grades[::-1], labeler="Ann")
    assert verdict.swapped.swapped == verdict
    assert Verdict(better=1, level=Level.BETTER).swapped == Verdict(better=0, level=Level.BETTER)


def test_a_verdict_names_an_answer() -> None:
    with pytest.raises(UserError, match="x: better is 2; it names an answer, 0 or 1"):
        from_dict(Verdict, {"better": 2, "level": "better"}, source="x")


def test_what_is_known_is_not_work(tmp_path: Path) -> None:
    pairs = [make_pair("7", "8"), make_pair("7", "9")]
    work = work_on(pairs, tmp_path, known=[pairs[0].id])
    assert work.left() == {pairs[1].id: pairs[1]}
