import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from codling.cli import run
from tests.command_line import COMMAND, name_of, refused, succeeded


@pytest.mark.parametrize("mode", ["--raw", "--chat"])
def test_generate_as_json_says_who_answered_and_what_it_took(
    capsys: pytest.CaptureFixture[str], folder: Path, mode: str
) -> None:
    arguments = ("generate", "device", "--prompt", "Alice was", "--max-tokens", "5", mode)
    answer = json.loads(succeeded(capsys, *arguments, "--json"))
    identity = json.loads(Path("device/manifest.json").read_text())["id"]
    assert answer["model"] == f"{identity}+recovery"
    assert answer["answer_tokens"] <= 5
    assert answer["finish_reason"] in ("length", "stop")
    assert answer["context_used_tokens"] == answer["prompt_tokens"] + answer["answer_tokens"]
    assert answer["context_length_tokens"] == 96
    run(arguments)
    assert capsys.readouterr().out.startswith(answer["text"])


def test_generate_draws_by_seed_and_takes_an_adapter(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    def draw(*more: str) -> dict[str, Any]:
        arguments = ("generate", "device", "--prompt", "hi", "--max-tokens", "9", "--temperature", "1", "--json", *more)
        answer: dict[str, Any] = json.loads(succeeded(capsys, *arguments))
        return answer

    assert draw("--seed", "1") == draw("--seed", "1")
    assert draw("--seed", "1")["text"] != draw("--seed", "2")["text"]
    assert draw("--adapter", "none")["model"].endswith("+none")


def test_generate_says_when_it_stopped_at_a_limit(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert run(["generate", "server", "--prompt", "a " * 20, "--raw"]) == 0
    assert "the context is full" in capsys.readouterr().err


def test_chat_works_over_a_pipe(folder: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "chat", "server", "--max-tokens", "4"],
        input="hello\n/reset\nhello\n/quit\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("context ") == 2
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["generate", "server"], "Missing option '--prompt'; see codling generate --help"),
        (["generate", "server", "--prompt", "x", "--temperature", "-1"], "Invalid value for '--temperature'"),
        (["generate", "nowhere", "--prompt", "x"], "nowhere: no such directory"),
        (["generate", ".", "--prompt", "x"], ".: not a finished codling artifact"),
        (["generate", "server", "--prompt", "x", "--adapter", "poet"], "server: no adapter 'poet'"),
        (["generate", "server", "--prompt", "x " * 99], "the prompt has 2"),
        (["generate", "server", "--prompt", "x " * 99, "--raw"], "the prompt has 1"),
        (["generate", "server", "--prompt", "x", "--raw", "--system", "s"], "--raw writes on from plain text"),
        (["generate", "server", "--prompt", "\udcff"], "--prompt: not UTF-8"),
        (["generate", "server", "--prompt", "x", "--tools", "text.txt"], "text.txt: not JSON"),
        (["generate", "server", "--prompt", "x", "--tools", "nowhere.json"], "nowhere.json: no such file"),
        (["chat", "server", "--system", "\udcff"], "--system: not UTF-8"),
    ],
    ids=name_of,
)
def test_bad_input(capsys: pytest.CaptureFixture[str], folder: Path, arguments: list[str], line: str) -> None:
    assert refused(capsys, folder, *arguments).startswith(line)
