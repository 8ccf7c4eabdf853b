"""Labels by people: waited for, read strictly, and complete before anything goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

from codling.committee.label_file import TO_LABEL_FILE, LabelFileConfig
from codling.committee.labeler import SetAside, Verdict
from codling.errors import UserError
from codling.posttrain.gradings import Gradings, Truthfulness
from codling.posttrain.levels import Level
from tests.committee.made_pairs import make_pair, work_on

PAIRS = [make_pair("7", f"{wrong}", check=None) for wrong in (1, 2, 3)]
FIRST, SECOND, THIRD = (pair.id for pair in PAIRS)
LINES: list[dict[str, Any]] = [
    {"id": SECOND, "better": 1, "level": "slightly_better", "labeler": "Ann"},
    {"id": THIRD, "tie": True},
    {"id": FIRST, "better": 0, "level": "better", "gradings": [{"truthfulness": "truthful"}, {}]},
]


def label(directory: Path, lines: list[dict[str, Any]] | None, known: tuple[str, ...] = ()) -> Any:
    path = directory / "people.jsonl"
    if lines is not None:
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return dict(LabelFileConfig(path=path).label(work_on(PAIRS, directory, known)))


def test_labels_are_read_in_whatever_order(tmp_path: Path) -> None:
    assert label(tmp_path, LINES) == {
        FIRST: Verdict(
            better=0, level=Level.BETTER, gradings=(Gradings(truthfulness=Truthfulness.TRUTHFUL), Gradings())
        ),
        SECOND: Verdict(better=1, level=Level.SLIGHTLY_BETTER, labeler="Ann"),
        THIRD: SetAside.TIE,
    }


def test_what_the_file_says_now_counts(tmp_path: Path) -> None:
    assert label(tmp_path, LINES, known=(FIRST,)).keys() == {FIRST, SECOND, THIRD}


def test_a_file_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"people.jsonl: waiting for this file of labels, one line for each of the 3 pa"
                       r".*to_label.jsonl, such as {.*}; run again when it is there$") as caught:  # fmt: skip
        label(tmp_path, None)
    assert "\n" not in str(caught.value)
    assert all(level.value in str(caught.value) for level in Level)


def test_people_are_shown_all_but_who_wrote_the_answers(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        label(tmp_path, None)
    text = (tmp_path / TO_LABEL_FILE).read_text()
    assert "dpo" not in text
    records = [json.loads(line) for line in text.splitlines()]
    assert [record["id"] for record in records] == [FIRST, SECOND, THIRD]
    assert records[0]["prompt"]["messages"][0]["content"] == "3 + 4?"
    assert [answer["content"] for answer in records[0]["answers"]] == ["7", "1"]
    # What people were shown is a result of the stage; whether they were late is not.
    label(tmp_path, LINES)
    assert (tmp_path / TO_LABEL_FILE).read_text() == text


def test_missing_lines_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"no label for 2 of the 3 pairs in .*, the first is '{FIRST}'; add a line"):
        label(tmp_path, LINES[1:2])
    with pytest.raises(UserError, match="no label for 3 of the 3"):
        label(tmp_path, [])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"level": "great"}, "key 'level': input should be 'significantly_better', .* got 'great'"),
        ({"gradings": [{"truthfulness": "maybe"}, {}]}, r"key 'gradings\.0\.truthfulness': input should be 'untruth"),
        ({"gradings": [{}]}, r"key 'gradings\.1' is missing"),
        ({"better": 2}, "better is 2; it names an answer, 0 or 1"),
        ({"better": "A"}, "key 'better'"),
        ({"mood": "good"}, "unknown key 'mood'"),
        ({"tie": True}, "unknown key 'better'"),
        ({"id": "0123456789abcdef"}, "no pair has the id '0123456789abcdef'; the pairs are in .*to_label.jsonl"),
        ({"id": 7}, "no id; give the one that the pair has in .*to_label.jsonl"),
        ({"id": SECOND}, f"a second label for '{SECOND}'; leave one"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=f"people.jsonl:3: .*{problem}") as caught:
        label(tmp_path, [*LINES[:2], {**LINES[2], **line}])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", [{"id": FIRST}, {"id": FIRST, "tie": False}, {"id": FIRST, "tie": "yes"}])
def test_half_lines_are_no_labels(tmp_path: Path, line: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"people\.jsonl:1: "):
        label(tmp_path, [line])
