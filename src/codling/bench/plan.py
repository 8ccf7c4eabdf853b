"""The planner next to what was published of the same models on the same machines.

AXLearn states step times of its 3B in its configuration (axlearn/experiments/text/gpt/honeycrisp.py): data parallel
over all chips, the results of matrix products kept (`dots_saveable`, our `attention`), 8.4M tokens a step. Its machine
names count cores: v5p-1024 has 512 chips. The report gives 52% of peak for its server on 8 x 1024 v4 (arXiv 2407.21075
section 2.3.2); size and mesh of that model are not known, ours is of the 70B class. Every plan runs in a process of its
own, as a user would call it.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from codling.bench.figure import Figure, compare, within
from codling.errors import UserError

STATED_STEP_S = {512: 1.48, 1024: 0.80, 2048: 0.47}
"""By chips of v5p."""
STATED_UTILIZATION = 0.52
MAX_ERROR, MAX_WALL_S, MAX_HOST_BYTES = 0.2, 180.0, 12 * 2**30


class Measured(NamedTuple):
    """One plan, and what making it took."""

    plan: dict[str, Any]
    wall_s: float


def run_plan_bench(say: Callable[[str], None] = lambda line: None) -> list[Figure]:
    """Plan all published runs; `say` hears how it goes. Errors: `UserError` where a plan cannot be made."""
    figures, measured = [], []
    for chips, stated_s in STATED_STEP_S.items():
        own = _plan("device_3b", f"tpu-v5p:{chips}", "--mesh", f"data={chips}", "--remat", "attention")
        step_s = float(own.plan["step_s"])
        say(f"{chips} chips of v5p: {step_s:.3f} s, stated {stated_s} s; planned in {own.wall_s:.0f} s")
        figures.append(_closeness(f"step of the 3B on {chips} v5p, peer: AXLearn's statement", step_s, stated_s))
        measured.append(own)
    server = _plan("server_70b", "tpu-v4:8x1024")
    utilization = float(server.plan["utilization"])
    say(f"8 x 1024 chips of v4: {utilization:.1%} of peak, the report {STATED_UTILIZATION:.0%}")
    measured.append(server)
    name = "utilization of a 70B server on 8 x 1024 v4, peer: the report's server"
    figures.append(compare(name, 100 * utilization, "%", 100 * STATED_UTILIZATION))
    wall_s = max(one.wall_s for one in measured)
    host_bytes = max(float(one.plan["peak_host_bytes"] or 0) for one in measured)
    figures.append(within("longest plan, peer: the limit", wall_s, "s", MAX_WALL_S))
    figures.append(within("most memory of a plan, peer: the limit", host_bytes / 2**30, "GiB", MAX_HOST_BYTES / 2**30))
    return figures


def _closeness(name: str, value_s: float, stated_s: float) -> Figure:
    """The ratio is one less the relative error."""
    ratio = 1.0 - abs(value_s - stated_s) / stated_s
    return Figure(name, 1e3 * value_s, "ms", 1e3 * stated_s, ratio, 1.0 - MAX_ERROR, ratio >= 1.0 - MAX_ERROR)


def _plan(workload: str, machine: str, *options: str) -> Measured:
    start = time.perf_counter()
    done = subprocess.run(
        _command(workload, "--on", machine, *options, "--json"), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UserError(
            done.stderr.strip().splitlines()[-1].removeprefix("codling: ") if done.stderr else "plan failed"
        )
    return Measured(json.loads(done.stdout), time.perf_counter() - start)


def _command(*arguments: str) -> Sequence[str]:
    return [sys.executable, "-m", "codling", "plan", *arguments]
