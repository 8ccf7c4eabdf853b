import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from codling.artifact.describe import describe
from codling.bench.figure import compare
from codling.show import _size, artifact_json, show_artifact, show_figures


def shown(show: Any, value: Any) -> str:
    console = Console(file=io.StringIO(), width=200, highlight=False)
    show(value, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_an_artifact_shows_its_origin_its_model_and_its_files(pair: Any) -> None:
    text = shown(show_artifact, describe(pair.device))
    for part in (
        "bundle",
        "adapters",
        "recovery",
        "palettized",
        "bits_per_weight_projections",
        "model.safetensors",
        "whole",
    ):
        assert part in text


def test_brackets_in_an_artifact_are_no_markup(pair: Any) -> None:
    description = describe(pair.server)._replace(path=Path("[red]here[/red]"))
    assert "[red]here[/red]" in shown(show_artifact, description)


@pytest.mark.parametrize("side", ["server", "device"])
def test_an_artifact_as_json_is_plain(pair: Any, side: str) -> None:
    values = artifact_json(describe(getattr(pair, side)))
    assert json.loads(json.dumps(values)) == values
    assert values["manifest"]["kind"] == "bundle"


def test_figures_stand_next_to_the_peers() -> None:
    figures = [
        compare("a", 1500.0, "tokens/s", 1000.0, 1.3),
        compare("b", 500.0, "tokens/s", 1000.0),
        compare("c", 4e-4, "s", 1.5),
    ]
    first, second, third = shown(show_figures, figures).splitlines()[1:]
    assert first.split() == ["a", "1,500.0", "tokens/s", "1,000.0", "1.50", "1.3", "yes"]
    assert second.split() == ["b", "500.0", "tokens/s", "1,000.0", "0.50"]
    assert third.split() == ["c", "0.0004", "s", "1.5", "0.00"]


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1024**2 - 1, "1024.0 KiB"), (3 * 2**40, "3.0 TiB")],
)
def test_sizes(size_bytes: int, text: str) -> None:
    assert _size(size_bytes) == text
