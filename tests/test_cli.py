"""The command line: what it prints, and that bad input costs one line, exit status 2, and nothing on disk."""

import contextlib
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codling.artifact.hf import read_tensors, write_tensors
from codling.artifact.stage import Stage, run_stage
from codling.artifact.workspace import SilentReporter
from codling.cli import run
from codling.errors import Terminated
from codling.ondevice.package import BundleConfig

HELP_LIMIT_S = 5.0
"""Far above what it takes (about 0.4 s), far below what importing JAX costs on a busy machine."""
COMMAND = [sys.executable, "-c", "from codling.cli import main; main()"]


def fingerprint(directory: Path) -> str:
    """Every path below, with its content and its time of change."""
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        digest.update(f"{path}{path.lstat().st_mtime_ns}".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pair: Any) -> Path:
    """The working directory of a user: two bundles, a text."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(pair.server, "server")
    shutil.copytree(pair.device, "device")
    Path("text.txt").write_text("Alice was beginning to get very tired.")
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> str:
    """Run a command that must fail; returns its one line."""
    before = fingerprint(folder)
    assert run(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert fingerprint(folder) == before
    return line.removeprefix("codling: ")


def succeeded(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(arguments) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


# What works


def test_help_answers_at_once_and_without_jax() -> None:
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True, timeout=HELP_LIMIT_S)
    assert "build" in done.stdout
    assert done.stderr == ""
    probe = "import sys, codling.cli; print('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout == "False\n"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert succeeded(capsys, "--version").startswith("codling 0.")


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["build"], ["generate"], ["chat"], ["evaluate", "perplexity"], ["export"], ["inspect"], ["plan"]):
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


def test_recipes_are_listed_and_shown_with_their_overrides(capsys: pytest.CaptureFixture[str]) -> None:
    assert "quickstart" in succeeded(capsys, "recipe", "list")
    shown = succeeded(capsys, "recipe", "show", "tiny", "--set", "server_core.loop.num_steps=7", "--set", "name=mine")
    recipe = tomllib.loads(shown)
    assert recipe["server_core"]["loop"]["num_steps"] == 7
    assert recipe["name"] == "mine"


def test_a_recipe_file_that_was_shown_can_be_built_from(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    shown = succeeded(capsys, "recipe", "show", "tiny")
    Path("mine.toml").write_text(shown)
    assert succeeded(capsys, "recipe", "show", "mine.toml") == shown


def test_build_goes_to_the_place_and_the_stage_that_it_is_told(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    arguments = ("build", "tiny", "--out", "here", "--until", "conversations")
    assert "[1/1] conversations" in succeeded(capsys, *arguments)
    (stage,) = (folder / "here" / "stages").iterdir()
    assert stage.name.startswith("conversations-")
    assert "done before" in succeeded(capsys, *arguments)


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


def test_perplexity_of_a_file(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    figures = json.loads(succeeded(capsys, "evaluate", "perplexity", "server", "--text", "text.txt", "--json"))
    assert figures.keys() >= {"nll_per_token", "bits_per_byte", "perplexity", "tokens"}
    assert "perplexity" in succeeded(capsys, "evaluate", "perplexity", "server", "--text", "text.txt")


def test_export_and_inspect(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert "written to new/out" in succeeded(capsys, "export", "device", "--to", "hf", "--out", "new/out")
    assert (folder / "new" / "out" / "model.safetensors").is_file()
    assert "palettized" in succeeded(capsys, "inspect", "device")
    described = json.loads(succeeded(capsys, "inspect", "device", "--json"))
    assert described["is_whole"]
    assert described["model"]["is_palettized"]
    assert {file["state"] for file in described["files"]} == {"whole"}


def test_plan_for_gpus_needs_nothing_more(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(succeeded(capsys, "plan", "device_3b", "--on", "gpu-h200:64", "--search", "--json"))
    assert told["fits"] is True
    assert told["step_s"] == told["layouts"][0]["step_s"]
    shown = succeeded(capsys, "plan", "mini:device", "--on", "gpu-h100:8", "--mesh", "data=8", "--search")
    assert "mini:device on gpu-h100:8" in shown
    assert "utilization" in shown


def test_inspect_tells_scripts_that_an_artifact_is_damaged(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    Path("server/tokenizer.json").write_text("{}")
    assert run(["inspect", "server"]) == 1
    assert "changed" in capsys.readouterr().out


# Bad input


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--nonsense"], "No such option: --nonsense; see codling --help"),
        (["generate", "server"], "Missing option '--prompt'; see codling generate --help"),
        (["generate", "server", "--prompt", "x", "--temperature", "-1"], "Invalid value for '--temperature'"),
        (["export", "server", "--to", "gguf", "--out", "x"], "Invalid value for '--to': 'gguf' is not"),
        (["build", "nonsense"], "unknown recipe 'nonsense' (known: quickstart"),
        (["build", "nonsense.toml"], "nonsense.toml: no such recipe file"),
        (["build", "text.toml"], "text.toml: not TOML"),
        (["build", "tiny", "--until", "nonsense"], "--until nonsense: no such stage (the recipe has: conv"),
        (["build", "tiny", "--set", "server_core.loop.nonsense=1"], "tiny: unknown key 'server_core.loop.nonsense'"),
        (
            ["build", "tiny", "--set", "server_core.loop.num_steps=many"],
            "tiny: key 'server_core.loop.num_steps': input",
        ),
        (["build", "tiny", "--set", "seed"], "--set seed: write it as key=value"),
        (["build", "tiny", "--out", "server"], "server: not empty and not a codling build; choose another --out"),
        (["build", "tiny", "--out", "text.txt"], "text.txt: not empty and not a codling build"),
        (["recipe", "show", "nonsense"], "unknown recipe 'nonsense'"),
        (["generate", "nowhere", "--prompt", "x"], "nowhere: no such directory"),
        (["generate", ".", "--prompt", "x"], ".: not a finished codling artifact"),
        (["generate", "server", "--prompt", "x", "--adapter", "poet"], "server: no adapter 'poet'"),
        (["generate", "server", "--prompt", "x " * 99], "the prompt has 2"),
        (["generate", "server", "--prompt", "x " * 99, "--raw"], "the prompt has 1"),
        (["generate", "server", "--prompt", "x", "--raw", "--system", "s"], "--raw writes on from plain text"),
        (["generate", "server", "--prompt", "\udcff"], "--prompt: not UTF-8"),
        (["chat", "server", "--system", "\udcff"], "--system: not UTF-8"),
        (["generate", "server", "--prompt", "x", "--tools", "text.txt"], "text.txt: not JSON"),
        (["generate", "server", "--prompt", "x", "--tools", "nowhere.json"], "nowhere.json: no such file"),
        (["evaluate", "perplexity", "server", "--text", "nowhere.txt"], "nowhere.txt: no such file"),
        (["evaluate", "perplexity", "server", "--text", "empty.txt"], "empty.txt: holds no text"),
        (["evaluate", "perplexity", "server", "--text", "latin.txt"], "latin.txt: not UTF-8 at byte 0"),
        (["export", "server", "--to", "hf", "--out", "device"], "device: not empty; choose another --out"),
        (["export", "server", "--to", "hf", "--out", "text.txt"], "text.txt: not empty; choose another --out"),
        (["export", "server", "--to", "hf", "--out", "text.txt/x"], "text.txt/x: cannot be made, as "),
        (["build", "tiny", "--out", "text.txt/x"], "text.txt/x: not a directory"),
        (["inspect", "nowhere"], "nowhere: no such directory"),
        (["plan", "server_80b", "--on", "tpu-v4:8"], "unknown size or recipe 'server_80b' (known: sizes"),
        (["plan", "device_3b", "--on", "tpu-v9:8"], "unknown machine 'tpu-v9' (known: tpu-v4"),
        (["plan", "device_3b", "--on", "tpu-v4:6"], "machine 'tpu-v4:6': no slice of tpu-v4 has 6 chips"),
        (["plan", "device_3b"], "Missing option '--on'; see codling plan --help"),
        (["plan", "device_3b", "--on", "gpu-h100:8", "--mesh", "model=8"], "mesh 'model=8': write it as data=8,"),
        (["plan", "device_3b", "--on", "gpu-h100:8", "--mesh", "data=4"], "mesh data 4 x fsdp 1"),
        (["plan", "device_3b", "--on", "gpu-h100:16", "--mesh", "tensor=16"], "mesh: tensor = 16 does not divide num_"),
        (["plan", "device_3b", "--on", "gpu-h100:8", "--remat", "all"], "unknown rematerialization 'all' (known: "),
        (["plan", "device_3b", "--on", "gpu-h100:8", "--batch-rows", "0"], "Invalid value for '--batch-rows'"),
        (["plan", "device_3b", "--on", "tpu-v4:2x8", "--mesh", "fsdp=16"], "mesh: data 1 is not a multiple of the 2"),
    ],
    ids=lambda value: " ".join(value)[:60].encode("ascii", "replace").decode() if isinstance(value, list) else "",
)
def test_bad_input(capsys: pytest.CaptureFixture[str], folder: Path, arguments: list[str], line: str) -> None:
    Path("empty.txt").touch()
    Path("latin.txt").write_bytes("é".encode("latin-1"))
    Path("text.toml").write_text("= 1")
    assert refused(capsys, folder, *arguments).startswith(line)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("nowhere", None, "nowhere: no such file or folder"),
        ("corpus.txt", b"", "corpus.txt: holds no text"),
        ("corpus.txt", b"\xff\xfe", "corpus.txt: not UTF-8 at byte 0; convert it to UTF-8"),
        ("corpus.jsonl", b'{"txt": "a"}', "corpus.jsonl:1: no `text` field"),
        ("corpus.pdf", b"%PDF", "corpus.pdf: not a text file; it must end in .txt"),
    ],
)
def test_a_corpus_that_cannot_be_read(
    capsys: pytest.CaptureFixture[str], folder: Path, name: str, content: bytes | None, line: str
) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    others = ", ".join(f'{{kind = "{kind}"}}' for kind in ("tales", "guides", "textbooks"))
    sources = f'corpus.sources=[{{kind = "stories", path = "{name}"}}, {others}]'
    assert refused(capsys, folder, "build", "tiny", "--set", sources).startswith(line)


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
        (truncate, "server/model.safetensors: not readable as safetensors, perhaps truncated"),
        (exchange_tokenizer, "server: the tokenizer does not belong to the weights"),
        (make_tokens, "server: is a tokens artifact, need bundle"),
    ],
)
def test_a_bundle_that_is_not_whole(
    capsys: pytest.CaptureFixture[str], folder: Path, damage: Any, line: str, arguments: tuple[str, ...]
) -> None:
    damage(folder / "server")
    assert refused(capsys, folder, *arguments).startswith(line)


@contextlib.contextmanager
def full_disk(left_bytes: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: the kernel refuses to write as it does on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_an_export_to_a_full_disk(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    with full_disk(2_000):
        line = refused(capsys, folder, "export", "server", "--to", "hf", "--out", "out")
    assert line == "out: no space left to write; free some, then the same command goes on"


def test_a_build_on_a_full_disk_keeps_what_is_done_and_goes_on_later(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    arguments = ("build", "tiny", "--out", "here", "--until", "tokenizer")
    with full_disk(20_000):
        assert run(arguments) == 2
    said = capsys.readouterr()
    assert said.err.splitlines() == ["codling: here: no space left to write; free some, then the same command goes on"]
    assert run(arguments) == 0
    assert len(list(Path("here/stages").glob("*/manifest.json"))) == 2


def test_a_place_that_may_not_be_written_to(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", "locked/out")

    # Root, who runs the tests in a container, may write anywhere.
    monkeypatch.setattr(Path, "mkdir", refuse)
    line = refused(capsys, folder, "export", "server", "--to", "hf", "--out", "locked/out")
    assert line == "locked/out: permission denied; choose another place or change its permissions"


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


def test_sigterm_has_a_status_of_its_own_and_warnings_are_not_held_back(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminated(*_: Any, reporter: Any, **__: Any) -> None:
        reporter.warn("server_core", "checkpoint 6 is damaged")
        print("noise of a library", file=sys.stderr)
        raise Terminated("server_core: stopped by SIGTERM after step 5; run again to go on")

    monkeypatch.setattr("codling.recipes.build.build", terminated)
    assert run(["build", "tiny"]) == 143
    assert capsys.readouterr().err.splitlines() == [
        "codling: server_core: checkpoint 6 is damaged",
        "codling: server_core: stopped by SIGTERM after step 5; run again to go on",
    ]


def test_a_bug_is_no_user_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("codling.evaluate.perplexity.read_text", fail)
    with pytest.raises(ZeroDivisionError):
        run(["evaluate", "perplexity", "server", "--text", "text.txt"])


def test_an_artifact_of_any_stage_can_be_inspected(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    stage = Stage("words", "text", 1, BundleConfig(), {}, lambda config, inputs, out, key: {"loss": {"nll": 1.25}})
    artifact = run_stage(stage, {}, tmp_path, 0, SilentReporter())
    shown = succeeded(capsys, "inspect", str(artifact.path))
    assert artifact.manifest.id in shown
    assert "loss.nll" in shown
