import json
import shutil
from pathlib import Path

import pytest

from tests.command_line import refused, succeeded

FEW = ("--steps", "3", "--batch-rows", "2", "--row-tokens", "48")


@pytest.fixture
def text(folder: Path) -> Path:
    """Enough of a text to calibrate by, and a few demonstrations."""
    (folder / "long.txt").write_text((Path(__file__).parents[1] / "data" / "alice.txt").read_text(encoding="utf-8"))
    lines = [
        {
            "messages": [{"role": "user", "content": f"Is {number} odd?"}, {"role": "assistant", "content": "Yes."}],
            "source": "own",
            "license": "CC0",
        }
        for number in range(6)
    ]
    (folder / "few.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "one.jsonl").write_text(json.dumps(lines[0]) + "\n")
    return folder


@pytest.fixture
def small(capsys: pytest.CaptureFixture[str], text: Path) -> Path:
    """The server, compressed."""
    succeeded(capsys, "compress", "server", "--calibration", "long.txt", "--out", "small", "--bits", "5")
    return text / "small"


def test_recovered_then_adapted_then_used(capsys: pytest.CaptureFixture[str], small: Path) -> None:
    recover = ("recover", "small", "--teacher", "server", "--text", "long.txt", "--demonstrations", "few.jsonl")
    figures = json.loads(succeeded(capsys, *recover, "--out", "recovered", "--rank", "4", *FEW, "--json"))
    assert figures["divergence"]["recovered"] < figures["divergence"]["palettized"]
    described = json.loads(succeeded(capsys, "inspect", "recovered", "--json"))
    assert described["is_whole"]
    adapt = ("adapt", "recovered", "--demonstrations", "few.jsonl", *FEW)
    told = succeeded(capsys, *adapt, "--out", "odd")
    assert "nats a token on held-out demonstrations" in told
    assert "next:    codling chat recovered --adapter odd" in told
    generate = ("generate", "recovered", "--prompt", "Hi", "--max-tokens", "2", "--json")
    assert json.loads(succeeded(capsys, *generate, "--adapter", "odd"))["model"].endswith("+odd")
    assert json.loads(succeeded(capsys, *generate))["model"].endswith("+recovery")
    said = refused(capsys, small.parent, "generate", "small", "--prompt", "Hi", "--adapter", "odd")
    assert "odd: this adapter was trained for another base than small" in said


def test_the_same_seed_gives_the_same_bytes(capsys: pytest.CaptureFixture[str], small: Path) -> None:
    recover = ("recover", "small", "--teacher", "server", "--text", "long.txt", "--rank", "2", *FEW)
    for name in ("one", "two"):
        succeeded(capsys, *recover, "--out", name)
    for file in ("model.safetensors", "adapters/recovery/adapter_model.safetensors"):
        assert (small.parent / "one" / file).read_bytes() == (small.parent / "two" / file).read_bytes()
    assert (small.parent / "one" / "model.safetensors").read_bytes() != (small / "model.safetensors").read_bytes()
    succeeded(capsys, *recover, "--no-tables", "--out", "three")
    assert (small.parent / "three" / "model.safetensors").read_bytes() == (small / "model.safetensors").read_bytes()


def test_a_rotated_bundle_is_compared_with_its_teacher_rotated(capsys: pytest.CaptureFixture[str], text: Path) -> None:
    compress = ("compress", "server", "--calibration", "long.txt", "--bits", "6.5", "--rotate", "values")
    succeeded(capsys, *compress, "--out", "turned")
    recover = ("recover", "turned", "--teacher", "server", "--text", "long.txt", "--rank", "8", "--out", "recovered")
    found = json.loads(succeeded(capsys, *recover, *FEW, "--json"))["divergence"]
    assert found["adapter_start"] < found["palettized"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("small", "--teacher", "server"), "there is nothing to train on; give --text or --demonstrations"),
        (("small", "--teacher", "server", "--text", "nowhere.txt"), "nowhere.txt: no such file"),
        (("small", "--teacher", "server", "--demonstrations", "one.jsonl"), "demonstrations: one is not enough"),
        (("small", "--teacher", "server", "--text", "long.txt", "--rank", "1000"), "adapter rank 1000 does not fit"),
        (("small", "--teacher", "small", "--text", "long.txt"), "small: is compressed itself"),
        (("server", "--teacher", "server", "--text", "long.txt"), "server: is not compressed"),
        (("device", "--teacher", "server", "--text", "long.txt"), "device: has a recovery adapter already"),
        (("small", "--teacher", "other", "--text", "long.txt"), "other: is not of the shape and tokenizer of small"),
        (("small", "--teacher", "server", "--text", "long.txt", "--out", "device"), "device: not empty"),
    ],
)
def test_what_cannot_be_recovered(
    capsys: pytest.CaptureFixture[str], small: Path, arguments: tuple[str, ...], says: str
) -> None:
    other = small.parent / "other"
    shutil.copytree(small.parent / "server", other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"rope_theta": 1.0}))
    out = () if "--out" in arguments else ("--out", "out")
    rank = () if "--rank" in arguments else ("--rank", "2")
    assert says in refused(capsys, small.parent, "recover", *arguments, *out, *rank, *FEW)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("server", "--demonstrations", "few.jsonl"), "server: has no recovery adapter to start from"),
        (("device", "--demonstrations", "one.jsonl"), "demonstrations: one is not enough"),
        (("device", "--demonstrations", "long.txt"), "long.txt:1: not a JSON object"),
        (("device", "--demonstrations", "few.jsonl", "--row-tokens", "2"), "does not fit a row of 2"),
        (("device",), "Missing option '--demonstrations'"),
    ],
)
def test_what_cannot_be_adapted(
    capsys: pytest.CaptureFixture[str], text: Path, arguments: tuple[str, ...], says: str
) -> None:
    assert says in refused(capsys, text, "adapt", *arguments, "--out", "out")
