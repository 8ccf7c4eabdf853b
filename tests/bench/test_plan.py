import sys

import pytest

from codling.bench import plan as module
from codling.bench.plan import run_plan_bench
from codling.errors import UserError

FAKE = """
import json, sys
steps = {"tpu-v5p:512": 1.5, "tpu-v5p:1024": 0.8, "tpu-v5p:2048": 0.3}
step_s = steps.get(sys.argv[3], 9.0)
print(json.dumps({"step_s": step_s, "utilization": 0.4, "peak_host_bytes": 2 * 2**30}))
"""


def use_script(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(module, "_command", lambda *arguments: [sys.executable, "-c", script, *arguments])


def test_each_published_run_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    use_script(monkeypatch, FAKE)
    said: list[str] = []
    figures = run_plan_bench(say=said.append)
    steps, (utilization, wall, memory) = figures[:3], figures[3:]
    assert [figure.met for figure in steps] == [True, True, False]
    assert steps[0].value == 1500
    assert steps[1].ratio == pytest.approx(1.0)
    assert utilization[:5] == (utilization.name, 40.0, "%", 52.0, 40 / 52)
    assert utilization.met is None
    assert wall.met
    assert memory.value == 2
    assert memory.ratio == 6
    assert len(said) == 4


def test_a_plan_that_cannot_be_made_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    use_script(
        monkeypatch, "import sys; print('codling: compiling for TPUs needs libtpu', file=sys.stderr); sys.exit(2)"
    )
    with pytest.raises(UserError, match=r"^compiling for TPUs needs libtpu"):
        run_plan_bench()
