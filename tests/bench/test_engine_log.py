from pathlib import Path

import pytest

from codling.bench.engine_log import Key, Row, RowLog, build_id, in_turn, seconds
from codling.errors import UserError

KEY = Key("generation", 2, 512, "llama.cpp Q4_0")


def test_a_row_is_measured_once_for_a_build(tmp_path: Path) -> None:
    said: list[str] = []
    log = RowLog(tmp_path, "first", said.append)
    assert log.lacks(KEY)
    log.measure(KEY, "tokens/s", lambda: [(3.0, 1.0, 2.0), (1.0, 1.0, 4.0)])
    log.measure(KEY, "tokens/s", lambda: pytest.fail("measured again"))
    again = RowLog(tmp_path, "first", said.append)
    assert not again.lacks(KEY)
    (row,) = again.rows
    assert row == Row(KEY, "tokens/s", (3.0, 1.0, 2.0), (1.0, 1.0, 4.0))
    assert (row.value, row.peer_value) == (2.0, 1.0)
    assert said == ["generation, 512 tokens, 2 threads, next to llama.cpp Q4_0: 2, theirs 1 tokens/s"]
    assert RowLog(tmp_path, "second", said.append).lacks(KEY)


def test_a_measurement_that_breaks_leaves_no_row(tmp_path: Path) -> None:
    log = RowLog(tmp_path, "build", lambda line: None)
    with pytest.raises(ZeroDivisionError):
        log.measure(KEY, "tokens/s", lambda: [(1 / 0,)])
    assert log.lacks(KEY)
    assert RowLog(tmp_path, "build", lambda line: None).rows == []


@pytest.mark.parametrize("line", ["{", "[]", '{"build": "a"}', '{"build": "a", "key": 3}'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "rows.jsonl").write_text(line + "\n")
    with pytest.raises(UserError, match=r"rows\.jsonl: line 1"):
        RowLog(tmp_path, "a", lambda line: None)


def test_sides_take_turns_and_each_round_begins_with_another() -> None:
    order: list[str] = []

    def side(name: str) -> float:
        order.append(name)
        return float(len(order))

    assert in_turn(3, lambda: side("a"), lambda: side("b")) == [(1.0, 4.0, 5.0), (2.0, 3.0, 6.0)]
    assert "".join(order) == "abbaab"


def test_a_build_is_known_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    assert build_id(tmp_path / "a") == build_id(tmp_path / "a") != build_id(tmp_path / "b")


def test_work_takes_time() -> None:
    assert seconds(lambda: None) >= 0
