import tomllib
from pathlib import Path

import pytest

from tests.command_line import name_of, refused, succeeded


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


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["recipe", "show", "nonsense"], "unknown recipe 'nonsense'"),
    ],
    ids=name_of,
)
def test_bad_input(capsys: pytest.CaptureFixture[str], folder: Path, arguments: list[str], line: str) -> None:
    assert refused(capsys, folder, *arguments).startswith(line)
