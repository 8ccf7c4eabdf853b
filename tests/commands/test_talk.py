import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from codling.cli import run
from tests.command_line import COMMAND, name_of, refused, succeeded


@pytest.mark.parametrize("backend", ["engine", "jax"])
@pytest.mark.parametrize("mode", ["--raw", "--chat"])
def test_generate_as_json_says_who_answered_and_what_it_took(
    capsys: pytest.CaptureFixture[str], folder: Path, mode: str, backend: str
) -> None:
    arguments = ("generate", "device", "--prompt", "Alice was", "--max-tokens", "5", mode, "--backend", backend)
    answer = json.loads(succeeded(capsys, *arguments, "--json"))
    identity = json.loads(Path("device/manifest.json").read_text())["id"]
    assert answer["model"] == f"{identity}+recovery"
    assert (answer["base"], answer["adapter"]) == (identity, "recovery")
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


def test_the_engine_answers_without_jax(folder: Path) -> None:
    probe = (
        "import sys; from codling.cli import run; "
        "assert run(['generate', 'device', '--prompt', 'hi', '--max-tokens', '3', '--json']) == 0; "
        "assert not {'jax', 'jaxlib', 'equinox'} & {*sys.modules}"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_engine_draws_and_proposes_as_it_is_told(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    def ask(*more: str) -> dict[str, Any]:
        arguments = (
            "generate",
            "device",
            "--raw",
            "--prompt",
            "on and on and on and on",
            "--max-tokens",
            "20",
            "--json",
        )
        answer: dict[str, Any] = json.loads(succeeded(capsys, *arguments, *more))
        return answer

    plain = ask("--threads", "1")
    warm = ("--temperature", "1.5", "--seed", "3")
    for same in (("--lookup",), ("--draft", "device"), (*warm, "--top-k", "1"), (*warm, "--min-p", "1")):
        assert ask(*same)["text"] == plain["text"]
    assert ask("--draft", "device")["accepted_tokens"] > 0
    for other in (warm, ("--repetition-penalty", "5"), ("--adapter", "none")):
        assert ask(*other)["text"] != plain["text"]
    assert ask("--no-rounding", "--kv", "f32")["text"] == ask("--backend", "jax")["text"]


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
        (["generate", "server", "--prompt", "x", "--backend", "gpu"], "Invalid value for '--backend'"),
        (["generate", "server", "--prompt", "x", "--kv", "int4"], "Invalid value for '--kv'"),
        (["generate", "server", "--prompt", "x", "--threads", "0"], "Invalid value for '--threads'"),
        (["generate", "server", "--prompt", "x", "--draft", "nowhere"], "nowhere: no such directory"),
        (["generate", "nowhere", "--prompt", "x", "--backend", "jax"], "nowhere: no such directory"),
        (["generate", "server", "--prompt", "x", "--lookup", "--backend", "jax"], "--lookup is for the engine"),
        (["chat", "server", "--system", "\udcff"], "--system: not UTF-8"),
    ],
    ids=name_of,
)
def test_bad_input(capsys: pytest.CaptureFixture[str], folder: Path, arguments: list[str], line: str) -> None:
    assert refused(capsys, folder, *arguments).startswith(line)
