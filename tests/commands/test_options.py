from pathlib import Path

import pytest

from tests.command_line import refused, succeeded


@pytest.mark.parametrize("command", [("generate",), ("chat",), ("evaluate", "perplexity"), ("export",)])
def test_commands_that_open_a_bundle_take_it_and_its_adapter(
    capsys: pytest.CaptureFixture[str], folder: Path, command: tuple[str, ...]
) -> None:
    shown = succeeded(capsys, *command, "--help")
    assert "BUNDLE" in shown
    assert "--adapter" in shown


def test_an_assignment_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert refused(capsys, folder, "recipe", "show", "tiny", "--set", "seed").startswith("--set seed: write it as key=")
