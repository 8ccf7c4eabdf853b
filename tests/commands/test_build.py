import sys
from pathlib import Path
from typing import Any

import pytest

from codling.cli import run
from codling.errors import Terminated
from tests.command_line import full_disk, name_of, refused, succeeded


def test_build_goes_to_the_place_and_the_stage_that_it_is_told(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    arguments = ("build", "tiny", "--out", "here", "--until", "conversations")
    assert "[1/1] conversations" in succeeded(capsys, *arguments)
    (stage,) = (folder / "here" / "stages").iterdir()
    assert stage.name.startswith("conversations-")
    assert "done before" in succeeded(capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
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
        (["build", "tiny", "--out", "text.txt/x"], "text.txt/x: not a directory"),
    ],
    ids=name_of,
)
def test_bad_input(capsys: pytest.CaptureFixture[str], folder: Path, arguments: list[str], line: str) -> None:
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
