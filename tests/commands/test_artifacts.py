import json
from pathlib import Path
from typing import Any

import pytest

from codling.artifact.stage import Stage, run_stage
from codling.artifact.workspace import SilentReporter
from codling.cli import run
from codling.ondevice.package import BundleConfig
from tests.command_line import full_disk, name_of, refused, succeeded


def test_export_and_inspect(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert "written to new/out" in succeeded(capsys, "export", "device", "--to", "hf", "--out", "new/out")
    assert (folder / "new" / "out" / "model.safetensors").is_file()
    assert "palettized" in succeeded(capsys, "inspect", "device")
    described = json.loads(succeeded(capsys, "inspect", "device", "--json"))
    assert described["is_whole"]
    assert described["model"]["is_palettized"]
    assert {file["state"] for file in described["files"]} == {"whole"}


def test_inspect_tells_scripts_that_an_artifact_is_damaged(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    Path("server/tokenizer.json").write_text("{}")
    assert run(["inspect", "server"]) == 1
    assert "changed" in capsys.readouterr().out


def test_an_artifact_of_any_stage_can_be_inspected(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    stage = Stage("words", "text", 1, BundleConfig(), {}, lambda config, inputs, out, key: {"loss": {"nll": 1.25}})
    artifact = run_stage(stage, {}, tmp_path, 0, SilentReporter())
    shown = succeeded(capsys, "inspect", str(artifact.path))
    assert artifact.manifest.id in shown
    assert "loss.nll" in shown


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["export", "server", "--to", "gguf", "--out", "x"], "Invalid value for '--to': 'gguf' is not"),
        (["export", "server", "--to", "hf", "--out", "device"], "device: not empty; choose another --out"),
        (["export", "server", "--to", "hf", "--out", "text.txt"], "text.txt: not empty; choose another --out"),
        (["export", "server", "--to", "hf", "--out", "text.txt/x"], "text.txt/x: cannot be made, as "),
        (["inspect", "nowhere"], "nowhere: no such directory"),
    ],
    ids=name_of,
)
def test_bad_input(capsys: pytest.CaptureFixture[str], folder: Path, arguments: list[str], line: str) -> None:
    assert refused(capsys, folder, *arguments).startswith(line)


def test_an_export_to_a_full_disk(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    with full_disk(2_000):
        line = refused(capsys, folder, "export", "server", "--to", "hf", "--out", "out")
    assert line == "out: no space left to write; free some, then the same command goes on"


def test_a_place_that_may_not_be_written_to(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", "locked/out")

    # Root, who runs the tests in a container, may write anywhere.
    monkeypatch.setattr(Path, "mkdir", refuse)
    line = refused(capsys, folder, "export", "server", "--to", "hf", "--out", "locked/out")
    assert line == "locked/out: permission denied; choose another place or change its permissions"
