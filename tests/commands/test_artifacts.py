import json
import shutil
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


@pytest.mark.parametrize("more", [(), ("--type", "q8_0", "--adapter", "none")])
def test_export_to_one_file(capsys: pytest.CaptureFixture[str], folder: Path, more: tuple[str, ...]) -> None:
    said = succeeded(capsys, "export", "device", "--to", "gguf", "--out", "new/device.gguf", *more)
    assert said.endswith(f"{'none' if more else 'recovery'} written to new/device.gguf\n")
    assert Path("new/device.gguf").read_bytes()[:4] == b"GGUF"


def test_an_imported_bundle_is_inspected_measured_exported_and_writes_on(
    capsys: pytest.CaptureFixture[str], folder: Path, foreign: Any
) -> None:
    said = succeeded(capsys, "import", str(foreign.checkpoint), "--out", "ours").splitlines()
    assert said[0].endswith(" written to ours")
    assert said[1].startswith("next:    codling generate ours --raw --prompt")
    assert "16.00 bits each" in succeeded(capsys, "inspect", "ours")
    assert "perplexity" in succeeded(capsys, "evaluate", "perplexity", "ours", "--text", "text.txt")
    arguments = ("generate", "ours", "--raw", "--prompt", "Alice", "--max-tokens", "3", "--json")
    assert json.loads(succeeded(capsys, *arguments))["answer_tokens"] <= 3
    succeeded(capsys, "export", "ours", "--to", "hf", "--out", "theirs")
    succeeded(capsys, "import", "theirs", "--out", "again")
    succeeded(capsys, "export", "server", "--to", "hf", "--out", "own")
    assert succeeded(capsys, "import", "own", "--out", "own again").endswith("next:    codling chat own again\n")
    succeeded(capsys, "export", "again", "--to", "gguf", "--out", "again.gguf")


@pytest.mark.parametrize("arguments", [("generate", "ours", "--prompt", "hi"), ("chat", "ours")])
def test_an_imported_bundle_does_not_chat(
    capsys: pytest.CaptureFixture[str], folder: Path, foreign: Any, arguments: tuple[str, ...]
) -> None:
    shutil.copytree(foreign.bundle, folder / "ours")
    assert refused(capsys, folder, *arguments).startswith("this model was imported with its own tokenizer")


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
        (["export", "server", "--to", "onnx", "--out", "x"], "Invalid value for '--to': 'onnx' is not"),
        (
            ["export", "server", "--to", "hf", "--out", "x", "--type", "f16"],
            "--type goes with --to gguf; hf is float32",
        ),
        (
            ["export", "server", "--to", "gguf", "--out", "x", "--type", "q4_0"],
            "unknown type of weights 'q4_0' (known: ",
        ),
        (["export", "server", "--to", "gguf", "--out", "text.txt"], "text.txt: there already; choose another --out"),
        (["export", "server", "--to", "gguf", "--out", "text.txt/x"], "text.txt/x: cannot be made, as "),
        (["export", "server", "--to", "hf", "--out", "device"], "device: not empty; choose another --out"),
        (["export", "server", "--to", "hf", "--out", "text.txt"], "text.txt: not empty; choose another --out"),
        (["export", "server", "--to", "hf", "--out", "text.txt/x"], "text.txt/x: cannot be made, as "),
        (["import", "nowhere", "--out", "x"], "nowhere: no such directory"),
        (["import", "server/adapters", "--out", "x"], "server/adapters: no such directory"),
        (["import", "empty", "--out", "x"], "empty/config.json: no such file, as a checkpoint in the Hugging Face"),
        (["import", "device", "--out", "x"], "device/config.json: the weights are quantized already"),
        (["import", "server", "--out", "device"], "device: not empty; choose another --out"),
        (["inspect", "nowhere"], "nowhere: no such directory"),
    ],
    ids=name_of,
)
def test_bad_input(capsys: pytest.CaptureFixture[str], folder: Path, arguments: list[str], line: str) -> None:
    Path("empty").mkdir()
    assert refused(capsys, folder, *arguments).startswith(line)


def test_an_export_to_a_full_disk(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    with full_disk(2_000):
        line = refused(capsys, folder, "export", "server", "--to", "hf", "--out", "out")
    assert line == "out: no space left to write; free some, then the same command goes on"
    with full_disk(2_000):
        line = refused(capsys, folder, "export", "server", "--to", "gguf", "--out", "out.gguf")
    assert line == "out.gguf: no space left to write; free some, then the same command goes on"


def test_an_import_to_a_full_disk(capsys: pytest.CaptureFixture[str], folder: Path, foreign: Any) -> None:
    with full_disk(20_000):
        line = refused(capsys, folder, "import", str(foreign.checkpoint), "--out", "out")
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
