from pathlib import Path
from typing import Any

import pytest
from jaxtyping import PRNGKeyArray

from codling.artifact.outputs import new_directory, new_file, run_stage_as
from codling.artifact.stage import Inputs, Stage
from codling.artifact.workspace import SilentReporter, Workspace
from codling.errors import Terminated, UserError
from codling.tokenizer.train import TokenizerConfig


def test_a_directory_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with new_directory(out) as partial:
        (partial / "file").write_text("text")
        assert not out.exists()
    assert (out / "file").read_text() == "text"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with new_directory(tmp_path / "out") as partial:
        (partial / "file").touch()
    assert (tmp_path / "out" / "file").exists()


def test_a_file_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out.gguf"
    with new_file(out) as partial:
        partial.write_text("text")
        assert not out.exists()
    assert out.read_text() == "text"


@pytest.mark.parametrize("new", [new_directory, new_file])
def test_what_fails_leaves_nothing(tmp_path: Path, new: Any) -> None:
    def fail() -> None:
        with new(tmp_path / "out") as partial:
            (partial / "file" if partial.is_dir() else partial).write_text("text")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list(tmp_path.iterdir())


def run_into(out: Path, fail: BaseException | None) -> list[str]:
    """Run a stage that notes what it finds and writes a file; returns what it found."""
    found: list[str] = []

    def run(config: object, inputs: Inputs, workspace: Workspace, key: PRNGKeyArray) -> dict[str, Any]:
        found.extend(path.name for path in workspace.path.iterdir())
        (workspace.path / "file").write_text("text")
        if fail is not None:
            raise fail
        return {}

    run_stage_as(out, Stage("x", "bundle", 1, TokenizerConfig(vocab_size=600), {}, run), {}, 0, SilentReporter())
    return found


def test_a_stage_takes_its_place_and_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for stop in (KeyboardInterrupt(), Terminated("stopped")):
        with pytest.raises(type(stop)):
            run_into(out, stop)
        assert not out.exists()
    assert "file" in run_into(out, None)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "file").read_text() == "text"
    with pytest.raises(UserError, match="out: not empty"):
        run_into(out, None)


def test_a_stage_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run_into(tmp_path / "out", ZeroDivisionError())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("new", [new_directory, new_file])
def test_what_is_there_is_never_touched(tmp_path: Path, new: Any) -> None:
    for name in ("file", "full/file"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    refused = {"file": "(not empty|there already)", "full": "(not empty|there already)", "file/x": "as .* is a file"}
    for name, message in refused.items():
        with pytest.raises(UserError, match=f"{name}: .*{message}.*; choose another --out"), new(tmp_path / name):
            pass
    assert (tmp_path / "full" / "file").read_text() == (tmp_path / "file").read_text() == "mine"
    assert len(list(tmp_path.rglob("*"))) == 3
