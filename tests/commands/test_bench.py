import json
from typing import Any

import pytest

from codling.bench.figure import compare
from codling.cli import run


@pytest.mark.parametrize("name", ["plan", "train", "rl"])
def test_figures_come_as_a_table_or_as_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def bench(say: Any) -> list[Any]:
        say("measuring")
        return [compare("speed", 30.0, "tokens/s", 20.0, goal=1.2)]

    monkeypatch.setattr(f"codling.bench.{name}.run_{name}_bench", bench)
    assert run(["bench", name]) == 0
    said = capsys.readouterr()
    assert "speed" in said.out
    assert said.err == "measuring\n"
    assert run(["bench", name, "--json"]) == 0
    (figure,) = json.loads(capsys.readouterr().out)["figures"]
    assert (figure["name"], figure["ratio"], figure["met"]) == ("speed", 1.5, True)
