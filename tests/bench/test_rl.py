import sys
from pathlib import Path

import pytest

from codling.bench import rl as module
from codling.bench.rl import GOAL, run_rl_bench
from codling.bench.rl_side import Side
from codling.errors import UserError

SPEEDS = {Side.OURS: 60, Side.TRL: 10}

FAKE_SIDE = """
import sys
print("a library says hello")
print("ready", flush=True)
for number, line in enumerate(sys.stdin):
    print("{'another': remark}")
    speed = SPEED * int(line) * [1, 1000, 1][number]
    print('{"iteration": %.1f, "sampling": %.1f, "scoring": 3.0, "updates": 4.0}' % (speed, 2 * speed), flush=True)
"""


@pytest.fixture(autouse=True)
def without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are made and read in the tests of a side."""
    monkeypatch.setattr(module, "PEER_PACKAGES", ())
    monkeypatch.setattr(module, "write_model", lambda path: None)


def use_script(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    def command(side: Side, model_path: Path) -> list[str]:
        return [sys.executable, "-c", script.replace("SPEED", str(SPEEDS[side]))]

    monkeypatch.setattr(module, "_command", command)


def test_figures_are_medians_of_interleaved_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    use_script(monkeypatch, FAKE_SIDE)
    said: list[str] = []
    iteration, sampling, scoring, updates = run_rl_bench(rounds=3, iterations_per_round=2, say=said.append)
    assert (iteration.value, iteration.peer_value, iteration.ratio) == (120, 20, 6)
    assert (iteration.goal, iteration.met) == (GOAL, True)
    assert (sampling.value, sampling.peer_value, sampling.goal, sampling.met) == (240, 40, None, None)
    assert (scoring.ratio, updates.ratio) == (1, 1)
    order = [line.partition(":")[0] for line in said if "round" in line]
    assert order == ["ours", "trl", "trl", "ours", "ours", "trl"]


@pytest.mark.parametrize("script", ["raise SystemExit(3)", "print('ready', flush=True); input(); raise SystemExit(3)"])
def test_a_side_that_breaks_is_named(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    use_script(monkeypatch, script)
    with pytest.raises(UserError, match="the side 'ours' of the bench broke with status 3"):
        run_rl_bench(rounds=1)


def test_without_the_peer_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PEER_PACKAGES", ("jax", "no_such_trl"))
    with pytest.raises(UserError, match=r"needs no_such_trl: pip install codling\[compare\]"):
        run_rl_bench()
