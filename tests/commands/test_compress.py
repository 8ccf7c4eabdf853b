import json
import shutil
from pathlib import Path

import pytest

from tests.command_line import refused, succeeded


@pytest.fixture
def text(folder: Path) -> Path:
    """Enough of a text to calibrate by."""
    path = folder / "long.txt"
    path.write_text((Path(__file__).parents[1] / "data" / "alice.txt").read_text(encoding="utf-8"))
    return path


def test_a_bundle_is_compressed_to_the_bits_asked_for(
    capsys: pytest.CaptureFixture[str], folder: Path, text: Path
) -> None:
    arguments = ("compress", "server", "--calibration", "long.txt", "--out", "small", "--bits", "4.5", "--json")
    figures = json.loads(succeeded(capsys, *arguments))
    assert figures["bits_per_weight_projections"] <= 4.5
    assert {matrix["width_bits"] for matrix in figures["matrices"].values()} == {2, 4}
    described = json.loads(succeeded(capsys, "inspect", "small", "--json"))
    assert described["is_whole"]
    assert described["model"]["is_palettized"]
    assert "perplexity" in succeeded(capsys, "evaluate", "perplexity", "small", "--text", "text.txt")
    assert "matrices of 2 bits" in succeeded(
        capsys, "compress", "server", "--calibration", "long.txt", "--out", "b", "--bits", "5"
    )


def test_sensitivities_may_be_measured(capsys: pytest.CaptureFixture[str], folder: Path, text: Path) -> None:
    arguments = ("compress", "server", "--calibration", "long.txt", "--bits", "5", "--max-tokens", "2048", "--json")
    found = [
        json.loads(succeeded(capsys, *arguments, "--out", how, "--sensitivity", how))["matrices"]
        for how in ("estimated", "measured")
    ]
    assert found[0].keys() == found[1].keys()
    assert found[0] != found[1]


def test_a_model_may_be_rotated_before(capsys: pytest.CaptureFixture[str], folder: Path, text: Path) -> None:
    arguments = ("compress", "server", "--calibration", "long.txt", "--bits", "5", "--max-tokens", "2048")
    succeeded(capsys, *arguments, "--rotate", "values", "--out", "small")
    manifest = json.loads(Path("small", "manifest.json").read_text())
    assert manifest["config"]["compress"]["rotate_values"]
    assert not manifest["config"]["compress"]["rotate_residual"]
    assert "perplexity" in succeeded(capsys, "evaluate", "perplexity", "small", "--text", "text.txt")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("server", "--calibration", "text.txt"), "the calibration text has"),
        (("server", "--calibration", "nowhere.txt"), "nowhere.txt: no such file"),
        (("server", "--calibration", "long.txt", "--bits", "1"), "1 bits a weight cannot be met"),
        (("server", "--calibration", "long.txt", "--sensitivity", "guessed"), "Invalid value for '--sensitivity'"),
        (("server", "--calibration", "long.txt", "--rotate", "left"), "Invalid value for '--rotate'"),
        (("server", "--calibration", "long.txt", "--rotate", "residual"), "the residual stream cannot be rotated"),
        (("server", "--calibration", "long.txt", "--bits", "0"), "Invalid value for '--bits'"),
        (("device", "--calibration", "long.txt"), "device: is compressed already"),
        (("nowhere", "--calibration", "long.txt"), "nowhere: no such directory"),
    ],
)
def test_what_cannot_be_compressed(
    capsys: pytest.CaptureFixture[str], folder: Path, text: Path, arguments: tuple[str, ...], says: str
) -> None:
    assert says in refused(capsys, folder, "compress", *arguments, "--out", "small")


def test_an_output_that_is_not_empty(capsys: pytest.CaptureFixture[str], folder: Path, text: Path) -> None:
    shutil.copytree("server", "small")
    arguments = ("compress", "server", "--calibration", "long.txt", "--out", "small")
    assert "small: not empty; choose another --out" in refused(capsys, folder, *arguments)
