import json

from rich.console import Console

from codling.scale.machine import parse_machine
from codling.scale.plan import Plan
from codling.scale.search import search
from codling.scale.show_plan import plan_json, show_plan, show_search
from codling.scale.workload import Workload, workload_of_size


def shown(plans: list[Plan]) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        show_search(plans, console)
        show_plan(plans[0], console)
    return capture.get()


def test_a_page_says_whether_it_fits_how_fast_and_what_binds(workload: Workload) -> None:
    plans = search(workload, parse_machine("gpu-h200:16"))
    text = shown(plans)
    for word in ("small on gpu-h200:16", "fits", "binds", "utilization", "chip-hours", "counted and not compiled"):
        assert word in text


def test_what_does_not_fit_says_so() -> None:
    plans = search(workload_of_size("server_70b"), parse_machine("gpu-h100:8"))
    assert "does not fit" in shown(plans[-1:])


def test_json_holds_every_figure(workload: Workload) -> None:
    plan = search(workload, parse_machine("gpu-h200:16"))[0]
    values = json.loads(json.dumps(plan_json(plan)))
    assert values["chip_bytes"]["total"] == sum(plan.chip_bytes)
    assert values["step_s"] == sum(values["terms"].values())
    assert values["fits"] is True
    assert values["is_compiled"] is False
    assert values["mesh"] == plan.layout.mesh.sizes
