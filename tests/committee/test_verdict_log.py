"""Results are kept as they come, and survive a kill."""

from pathlib import Path

import pytest

from codling.committee.labeler import SetAside, Verdict
from codling.committee.verdict_log import VerdictLog
from codling.errors import UserError
from codling.posttrain.gradings import Gradings, Verbosity
from codling.posttrain.levels import Level

VERDICT = Verdict(
    better=1, level=Level.BETTER, gradings=(Gradings(verbosity=Verbosity.TOO_LONG), Gradings()), labeler="Änn"
)


def fill(path: Path) -> VerdictLog:
    log = VerdictLog(path)
    with log.appending():
        log.add("a", VERDICT)
        log.add("b", SetAside.TIE)
    return log


def test_what_was_added_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "log.jsonl"
    first = fill(path)
    assert first.results == VerdictLog(path).results == {"a": VERDICT, "b": SetAside.TIE}


def test_each_result_is_on_disk_at_once(tmp_path: Path) -> None:
    log = VerdictLog(tmp_path / "log.jsonl")
    with log.appending():
        log.add("a", VERDICT)
        assert VerdictLog(tmp_path / "log.jsonl").results == {"a": VERDICT}


def test_a_later_result_counts(tmp_path: Path) -> None:
    log = fill(tmp_path / "log.jsonl")
    with log.appending():
        log.add("a", SetAside.TIE)
    assert VerdictLog(tmp_path / "log.jsonl").results["a"] is SetAside.TIE


def test_a_kill_at_any_byte_loses_the_last_line_at_most(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    fill(path)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        log = VerdictLog(path)
        assert list(log.results) == ["a", "b"][: data[:length].count(b"\n")]
        with log.appending():
            log.add("c", SetAside.NO_CHECK)
        assert VerdictLog(path).results == log.results


@pytest.mark.parametrize("reason", SetAside)
def test_failures_of_a_judge_are_forgotten(tmp_path: Path, reason: SetAside) -> None:
    log = fill(tmp_path / "log.jsonl")
    with log.appending():
        log.add("c", reason)
    is_failure = reason in (SetAside.TIMED_OUT, SetAside.FAILED, SetAside.REFUSED, SetAside.NONSENSE)
    assert ("c" in VerdictLog(tmp_path / "log.jsonl").results) != is_failure


def test_removed_is_empty(tmp_path: Path) -> None:
    log = fill(tmp_path / "log.jsonl")
    log.remove()
    log.remove()
    assert VerdictLog(tmp_path / "log.jsonl").results == {}


@pytest.mark.parametrize("line", ['{"id": "a", "set_aside": "bored"}', '{"id": "a", "better": 3, "level": "better"}'])
def test_damage_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "log.jsonl").write_text(line + "\n")
    with pytest.raises(UserError, match=r"log\.jsonl:1: "):
        VerdictLog(tmp_path / "log.jsonl")
