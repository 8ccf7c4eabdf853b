import json
from pathlib import Path

import pytest

from codling.train.metrics import METRICS_FILE, MetricsWriter, read_metrics


def write(directory: Path, resume_step: int, steps: range, loss: float = 1.0) -> None:
    with MetricsWriter(directory, resume_step) as writer:
        for step in steps:
            writer.write(step, loss=loss / step)


def test_what_is_written_is_read_at_once(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, 0) as writer:
        writer.write(5, loss=0.1, gradient_norm=1 / 3)
        assert read_metrics(tmp_path) == [{"step": 5, "loss": 0.1, "gradient_norm": 1 / 3}]


def test_a_resumed_stage_has_every_step_once(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 8))
    write(tmp_path, 4, range(5, 11), loss=2.0)
    records = read_metrics(tmp_path)
    assert [record["step"] for record in records] == list(range(1, 11))
    assert [record["loss"] * record["step"] for record in records] == [1.0] * 4 + [2.0] * 6


def test_going_back_drops_the_later_steps(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, 0) as writer:
        for step in (1, 2, 3):
            writer.write(step, loss=1.0)
        writer.go_back(1)
        writer.write(2, loss=2.0)
    assert [(record["step"], record["loss"]) for record in read_metrics(tmp_path)] == [(1, 1.0), (2, 2.0)]


def test_a_kill_while_later_steps_are_dropped_leaves_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 0, range(1, 4))

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", kill)
    with pytest.raises(KeyboardInterrupt):
        MetricsWriter(tmp_path, 2)
    assert [record["step"] for record in read_metrics(tmp_path)] == [1, 2, 3]


def test_a_line_that_a_kill_cut_short_is_dropped(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 4))
    path = tmp_path / METRICS_FILE
    path.write_text(path.read_text()[:-9])
    assert [record["step"] for record in read_metrics(tmp_path)] == [1, 2]
    write(tmp_path, 2, range(3, 5))
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3, 4]


def test_a_stage_without_metrics_has_no_records(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []


def test_people_get_event_files(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 3))
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))
