import pytest

from codling.model.execution import Remat
from codling.scale import plan as module
from codling.scale.collectives import Collective, Kind
from codling.scale.compiled import CompiledStep, DoesNotFit
from codling.scale.layout import Layout
from codling.scale.machine import parse_machine
from codling.scale.plan import compile_plan, estimate_plan
from codling.scale.roofline import model_flops
from codling.scale.workload import Workload
from codling.train.sharding import MeshConfig

LAYOUT = Layout(MeshConfig(data=2, fsdp=4), Remat.LAYERS)


def test_what_a_stage_costs_follows_from_its_step(workload: Workload) -> None:
    plan = estimate_plan(workload, parse_machine("gpu-h200:8"), LAYOUT)
    step_s = plan.terms.step_s
    assert plan.utilization == pytest.approx(model_flops(workload) / (8 * 989e12 * step_s))
    assert plan.tokens_per_day == pytest.approx(16 * 128 * 86_400 / step_s)
    assert plan.days == pytest.approx(1e9 / plan.tokens_per_day)
    assert plan.chip_hours == pytest.approx(plan.days * 24 * 8)
    assert plan.fits
    assert plan.compiled is None


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What stands for libtpu and the compiler; its one entry is what comes out."""
    answers: list[object] = []

    def compile_step(*arguments: object, is_quick: bool) -> CompiledStep:
        if isinstance(answers[0], Exception):
            raise answers[0]
        assert isinstance(answers[0], CompiledStep)
        return answers[0]

    monkeypatch.setattr(module, "compile_step", compile_step)
    monkeypatch.setattr(module, "tpu_devices", lambda machine: [None] * 8)
    monkeypatch.setattr(module, "build_mesh", lambda mesh, devices: None)
    return answers


def test_the_compilers_bytes_are_told_apart_by_kind(workload: Workload, compiler: list[object]) -> None:
    collectives = [Collective(Kind.ALL_GATHER, 10**6, (0, 1, 2, 3), times=3)]
    compiler.append(CompiledStep(3 * 10**6, 10**7, 10**5, collectives, 20.0, 2**30))
    plan = compile_plan(workload, parse_machine("tpu-v4:2x4"), LAYOUT)
    assert plan.chip_bytes.parameters == pytest.approx(10**6)
    assert plan.chip_bytes.optimizer == pytest.approx(2 * 10**6)
    assert plan.chip_bytes.total == 3 * 10**6 + 10**7 + 10**5
    assert min(plan.chip_bytes) > 0
    assert plan.traffic == {Kind.ALL_GATHER: (3, 3 * 0.75e6, 0)}
    assert plan.fits


def test_what_the_compiler_refuses_does_not_fit(workload: Workload, compiler: list[object]) -> None:
    compiler.append(DoesNotFit(5e9))
    machine = parse_machine("tpu-v4:2x4")
    plan = compile_plan(workload, machine, LAYOUT)
    assert not plan.fits
    assert plan.chip_bytes.total > machine.usable_bytes
