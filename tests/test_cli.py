"""The command line: what it prints, and that bad input costs one line, exit status 2, and nothing on disk."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from codling.artifact.tensor_files import read_tensors, write_tensors
from codling.cli import run
from tests.command_line import COMMAND, refused, succeeded

HELP_LIMIT_S = 5.0
"""Far above what it takes (about 0.4 s), far below what importing JAX costs on a busy machine."""


def test_help_answers_at_once_and_without_jax() -> None:
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True, timeout=HELP_LIMIT_S)
    assert "build" in done.stdout
    assert done.stderr == ""
    probe = "import sys, codling.cli; print('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout == "False\n"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert succeeded(capsys, "--version").startswith("codling 0.")


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        ["build"],
        ["generate"],
        ["chat"],
        ["evaluate", "perplexity"],
        ["export"],
        ["import"],
        ["inspect"],
        ["plan"],
    ):
        shown = succeeded(capsys, *command, "--help")
        assert "Example: codling" in shown


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, str(1 << (len(os.sched_getaffinity(0)).bit_length() - 1))),
        ({"JAX_NUM_CPU_DEVICES": "3"}, "3"),
        ({"XLA_FLAGS": "--xla_force_host_platform_device_count=5"}, "None"),
    ],
)
def test_jax_gets_a_device_a_core_unless_told_otherwise(environment: dict[str, str], expected: str) -> None:
    code = (
        "import os; from codling.train.host import use_all_cores as use; use(); print(os.getenv('JAX_NUM_CPU_DEVICES'))"
    )
    plain = {name: value for name, value in os.environ.items() if name not in ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=plain | environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected


def test_an_unknown_option_is_refused(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert refused(capsys, folder, "--nonsense") == "No such option: --nonsense; see codling --help"


def remove_tensor(directory: Path) -> None:
    tensors, _ = read_tensors(directory / "model.safetensors")
    write_tensors(directory / "model.safetensors", dict(list(tensors.items())[1:]), {})


def truncate(directory: Path) -> None:
    weights = directory / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def exchange_tokenizer(directory: Path) -> None:
    from codling.tokenizer.train import TokenizerConfig, train_tokenizer

    other = train_tokenizer(["another text " * 50, "of other words " * 50], TokenizerConfig(vocab_size=300))
    (directory / "tokenizer.model").write_bytes(other)


def make_tokens(directory: Path) -> None:
    manifest = json.loads((directory / "manifest.json").read_text())
    (directory / "manifest.json").write_text(json.dumps(manifest | {"kind": "tokens"}))


CUT = (
    "server/model.safetensors: not readable as safetensors, perhaps truncated",
    "server/model.safetensors: tensor 'model.",
)
"""What Python's reader says of a file that was cut off, and the engine's."""


@pytest.mark.parametrize(
    "arguments",
    [
        ("generate", "server", "--prompt", "x"),
        ("chat", "server"),
        ("evaluate", "perplexity", "server", "--text", "text.txt"),
        ("export", "server", "--to", "hf", "--out", "out"),
    ],
    ids=lambda arguments: arguments[0],
)
@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (remove_tensor, "server/model.safetensors: tensor 'model."),
        (truncate, CUT),
        (exchange_tokenizer, "server: the tokenizer does not belong to the weights"),
        (make_tokens, "server: is a tokens artifact, need bundle"),
    ],
)
def test_a_bundle_that_is_not_whole(
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    damage: Any,
    line: str | tuple[str, str],
    arguments: tuple[str, ...],
) -> None:
    damage(folder / "server")
    assert refused(capsys, folder, *arguments).startswith(line)


def test_ctrl_c_says_that_the_same_command_goes_on(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("codling.recipes.build.build", interrupted)
    assert run(["build", "tiny"]) == 130
    assert capsys.readouterr().err == "codling: stopped; the same command goes on where it was\n"
    monkeypatch.setattr("codling.evaluate.perplexity.read_text", interrupted)
    assert run(["evaluate", "perplexity", "server", "--text", "text.txt"]) == 130
    assert capsys.readouterr().err == "codling: stopped\n"


def test_a_bug_is_no_user_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("codling.evaluate.perplexity.read_text", fail)
    with pytest.raises(ZeroDivisionError):
        run(["evaluate", "perplexity", "server", "--text", "text.txt"])
