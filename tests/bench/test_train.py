import sys

import pytest

from codling.bench import train as module
from codling.bench.train import run_train_bench
from codling.bench.train_side import Side
from codling.errors import UserError

SPEEDS = {Side.OURS: 30, Side.EAGER: 10, Side.COMPILED: 25}

FAKE_SIDE = """
import sys
print("a library says hello")
print("ready", flush=True)
for number, line in enumerate(sys.stdin):
    print("another remark")
    print('{"tokens_per_s": %d}' % (SPEED * int(line) * [1, 1000, 1][number]), flush=True)
"""


@pytest.fixture
def with_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PEER_PACKAGES", ())


def use_script(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    def command(side: Side) -> list[str]:
        return [sys.executable, "-c", script.replace("SPEED", str(SPEEDS[side]))]

    monkeypatch.setattr(module, "_command", command)


@pytest.mark.usefixtures("with_peers")
def test_figures_are_medians_of_interleaved_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    use_script(monkeypatch, FAKE_SIDE)
    said: list[str] = []
    eager, compiled = run_train_bench(rounds=3, steps_per_round=2, say=said.append)
    assert (eager.value, eager.peer_value, eager.ratio, eager.met) == (60, 20, 3, None)
    assert (compiled.peer_value, compiled.ratio, compiled.goal, compiled.met) == (50, 1.2, 1.3, False)
    order = [line.partition(":")[0] for line in said if "round" in line]
    assert order == ["ours", "eager", "compiled", "eager", "compiled", "ours", "compiled", "ours", "eager"]


@pytest.mark.usefixtures("with_peers")
@pytest.mark.parametrize("script", ["raise SystemExit(3)", "print('ready', flush=True); input(); raise SystemExit(3)"])
def test_a_side_that_breaks_is_named(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    use_script(monkeypatch, script)
    with pytest.raises(UserError, match="the side 'ours' of the bench broke with status 3"):
        run_train_bench(rounds=1, steps_per_round=1)


def test_without_the_peer_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PEER_PACKAGES", ("transformers", "no_such_torch"))
    with pytest.raises(UserError, match=r"needs no_such_torch: pip install codling\[compare\]"):
        run_train_bench()
