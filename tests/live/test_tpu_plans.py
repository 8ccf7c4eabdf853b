"""Steps compiled by libtpu (the `tpu` extra) for machines that are not there; `pytest -m live`."""

import importlib.util
from dataclasses import replace

import pytest

from codling.model.execution import Remat
from codling.scale.collectives import Kind, by_kind
from codling.scale.estimate import estimate_bytes, estimate_collectives
from codling.scale.layout import Layout
from codling.scale.machine import parse_machine
from codling.scale.plan import Plan, compile_plan
from codling.scale.topology import coordinates_of, tpu_devices
from codling.scale.workload import Workload, workload_of_size
from codling.train.sharding import MeshConfig

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs libtpu: pip install 'codling[tpu]'"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def shallow() -> Workload:
    """The on-device model with two of its layers, on few rows."""
    full = workload_of_size("device_3b")
    return full._replace(model=replace(full.model, num_layers=2), batch_size_rows=16)


@pytest.mark.parametrize("name", ["tpu-v4:4", "tpu-v4:2x8", "tpu-v5p:64", "tpu-v5e:16", "tpu-v6e:2x8"])
def test_devices_are_where_we_count_them(name: str) -> None:
    machine = parse_machine(name)
    devices = tpu_devices(machine)
    assert len(devices) == machine.num_chips
    places = [tuple(device.coords)[: len(machine.slice_shape)] for device in devices]
    assert places == coordinates_of(machine) * machine.num_slices


@pytest.fixture(scope="module")
def plan(shallow: Workload) -> Plan:
    return compile_plan(
        shallow, parse_machine("tpu-v4:2x8"), Layout(MeshConfig(data=2, fsdp=4, tensor=2), Remat.LAYERS)
    )


def test_the_compiler_exchanges_what_we_count(shallow: Workload, plan: Plan) -> None:
    counted = by_kind(estimate_collectives(shallow, plan.layout.mesh, plan.layout.remat, plan.machine))
    compiled = plan.traffic

    def fast(traffic: dict[Kind, tuple[int, float, float]]) -> float:
        return sum(one[1] for one in traffic.values())

    assert fast(compiled) == pytest.approx(fast(counted), rel=0.15)  # type: ignore[arg-type]
    assert compiled[Kind.ALL_REDUCE].slow_bytes == pytest.approx(counted[Kind.ALL_REDUCE].slow_bytes, rel=0.05)
    assert Kind.ALL_TO_ALL not in compiled


def test_the_compiler_holds_what_we_count(shallow: Workload, plan: Plan) -> None:
    counted = estimate_bytes(shallow, plan.layout.mesh, plan.layout.remat)
    assert plan.chip_bytes.parameters == pytest.approx(counted.parameters, rel=0.05)
    assert plan.chip_bytes.total == pytest.approx(counted.total, rel=0.3)


def test_what_is_too_large_does_not_fit(shallow: Workload) -> None:
    machine = parse_machine("tpu-v5e:4")
    large = shallow._replace(batch_size_rows=256)
    plan = compile_plan(large, machine, Layout(MeshConfig(fsdp=4), Remat.NOTHING))
    assert not plan.fits
