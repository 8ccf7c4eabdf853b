import json
from pathlib import Path
from typing import Any

import pytest

from codling.bench import engine as module
from codling.bench.engine import GROUPS, run_engine_bench
from codling.cli import run
from codling.errors import UserError
from tests.bench.engine_tiny import CONFIG, SHAPE

QUICK = ["bandwidth", "prompt", "generation", "adapter", "sessions", "adapter-swap", "divergence"]


@pytest.fixture(autouse=True)
def tiny_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "bench_shape", lambda config: SHAPE)


def test_a_run_that_was_stopped_goes_on_where_it_was(pair: Any, tmp_path: Path) -> None:
    said: list[str] = []
    options: dict[str, Any] = {"small": pair.device, "peers": (), "config": CONFIG}
    run_engine_bench(tmp_path, only=QUICK[:3], **options, say=said.append)
    figures, rows = run_engine_bench(tmp_path, only=QUICK, **options, say=said.append)
    assert {row.key.group for row in rows} == set(QUICK)
    assert len(said) == len(rows) + 1  # the bundle
    assert len(figures) == 2 * len(CONFIG.contexts_tokens) + 3 * len(CONFIG.threads) + 1
    assert run_engine_bench(tmp_path, only=QUICK, **options) == (figures, rows)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"peers": ["ollama"]}, r"no peer 'ollama' .*llama\.cpp, transformers"),
        ({"only": ["speed"]}, "no group 'speed' .*generation"),
    ],
)
def test_what_is_unknown_is_refused_before_anything_is_made(
    tmp_path: Path, options: dict[str, Any], problem: str
) -> None:
    given: dict[str, Any] = {"small": None, "peers": (), "only": (), "config": CONFIG} | options
    with pytest.raises(UserError, match=problem):
        run_engine_bench(tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_the_command_shows_figures_and_draws_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["bench", "engine", "--out", "runs", "--threads", "1", "--only", "adapter-swap", "--rounds", "2"]
    assert run([*arguments, "--svg", "picture.svg", "--json"]) == 0
    (figure,) = json.loads(capsys.readouterr().out)["figures"]
    assert figure["goal"] == 1.0
    assert b"<svg" in Path("picture.svg").read_bytes()
    assert run(["bench", "engine", "--out", "runs", "--only", "speed"]) == 2
    said = capsys.readouterr().err
    assert all(group in said for group in GROUPS)
