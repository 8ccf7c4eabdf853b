"""A build: what it refuses, what it reuses, what it puts where."""

from pathlib import Path

import pytest

from codling.errors import UserError
from codling.recipes.build import build, needed_for
from codling.recipes.recipe import stages
from codling.recipes.tiny import tiny
from tests.conftest import SilentBuildReporter, TinyBuild


class Listener(SilentBuildReporter):
    """Remembers which stages ran and which were reused."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.reused: list[str] = []

    def stage_done(self, name: str, seconds: float, headline: str) -> None:
        self.ran.append(name)

    def stage_reused(self, name: str) -> None:
        self.reused.append(name)


def test_finished_stages_are_reused(tiny_build: TinyBuild) -> None:
    listener = Listener()
    build(tiny(), tiny_build.out, until="report", reporter=listener)
    assert listener.ran == []
    assert listener.reused == list(tiny_build.artifacts)


def test_until_stops_after_its_stage(tmp_path: Path) -> None:
    listener = Listener()
    build(tiny(), tmp_path / "out", until="tokenizer", reporter=listener)
    assert listener.ran == ["conversations", "tokenizer"]


def test_an_unknown_stage_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--until sft: no such stage"):
        build(tiny(), tmp_path / "out", until="sft", reporter=Listener())
    assert not (tmp_path / "out").exists()


def test_a_directory_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="not empty and not a codling build"):
        build(tiny(), tmp_path, until=None, reporter=Listener())
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_until_builds_what_its_stage_needs_and_no_more() -> None:
    names = [stage.name for stage in needed_for("device_prune", stages(tiny()))]
    assert names == ["conversations", "tokenizer", "tokens", "device_parent_core", "device_prune"]
