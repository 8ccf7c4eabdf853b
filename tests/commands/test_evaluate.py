import json
from pathlib import Path

import pytest

from tests.command_line import name_of, refused, succeeded


def test_perplexity_of_a_file(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    figures = json.loads(succeeded(capsys, "evaluate", "perplexity", "server", "--text", "text.txt", "--json"))
    assert figures.keys() >= {"nll_per_token", "bits_per_byte", "perplexity", "tokens"}
    assert "perplexity" in succeeded(capsys, "evaluate", "perplexity", "server", "--text", "text.txt")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["evaluate", "perplexity", "server", "--text", "nowhere.txt"], "nowhere.txt: no such file"),
        (["evaluate", "perplexity", "server", "--text", "empty.txt"], "empty.txt: holds no text"),
        (["evaluate", "perplexity", "server", "--text", "latin.txt"], "latin.txt: not UTF-8 at byte 0"),
    ],
    ids=name_of,
)
def test_bad_input(capsys: pytest.CaptureFixture[str], folder: Path, arguments: list[str], line: str) -> None:
    Path("empty.txt").touch()
    Path("latin.txt").write_bytes("é".encode("latin-1"))
    assert refused(capsys, folder, *arguments).startswith(line)
