import pytest

from codling.errors import UserError
from codling.model.execution import Remat
from codling.scale import search as module
from codling.scale.machine import parse_machine
from codling.scale.plan import Plan, estimate_plan
from codling.scale.search import best_plan, search
from codling.scale.workload import Workload, workload_of_size
from codling.train.sharding import MeshConfig


def test_every_layout_divides_and_the_fastest_that_fits_is_first(workload: Workload) -> None:
    plans = search(workload, parse_machine("gpu-h100:8"))
    meshes = {tuple(plan.layout.mesh.sizes.values()) for plan in plans}
    assert meshes == {
        (8 // (fsdp * tensor), fsdp, 1, tensor) for tensor in (1, 2) for fsdp in (1, 2, 4, 8) if fsdp * tensor <= 8
    }
    assert len(plans) == len(meshes) * len(Remat)
    steps = [plan.terms.step_s for plan in plans]
    assert steps == sorted(steps)


def test_what_does_not_fit_comes_last() -> None:
    plans = search(workload_of_size("device_3b"), parse_machine("tpu-v5e:2x256"))
    fits = [plan.may_fit for plan in plans]
    assert fits == sorted(fits, reverse=True)
    assert not fits[-1]
    assert all(plan.layout.mesh.data % 2 == 0 for plan in plans)


def test_what_is_given_stays(workload: Workload) -> None:
    mesh = MeshConfig(data=2, fsdp=4)
    (only,) = search(workload, parse_machine("gpu-h100:8"), mesh, Remat.LAYERS)
    assert only.layout == (mesh, Remat.LAYERS)


def test_a_mesh_that_divides_nothing_is_refused(workload: Workload) -> None:
    with pytest.raises(UserError, match="the machine has 8"):
        search(workload, parse_machine("gpu-h100:8"), MeshConfig(data=3))
    with pytest.raises(UserError, match="does not divide batch_size_rows 16"):
        search(workload, parse_machine("gpu-h100:56"))


def test_the_compiler_has_the_last_word(workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    plans, tried = search(workload, parse_machine("tpu-v4:8")), []

    def compile_plan(*arguments: object, is_quick: bool) -> Plan:
        plan = estimate_plan(*arguments)  # type: ignore[arg-type]
        tried.append(plan.layout)
        full = plan.chip_bytes._replace(temporary=1e12 if len(tried) == 1 else 0.0)
        return Plan(plan.workload, plan.machine, plan.layout, full, plan.collectives, plan.terms, None)

    monkeypatch.setattr(module, "compile_plan", compile_plan)
    best = best_plan(plans, is_quick=True)
    assert tried == [plan.layout for plan in plans[:2]]
    assert best.layout == plans[1].layout
