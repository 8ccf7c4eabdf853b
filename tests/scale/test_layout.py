import pytest

from codling.errors import UserError
from codling.model.execution import Remat
from codling.scale.layout import Layout, check_layout, parse_mesh, parse_remat
from codling.scale.machine import parse_machine
from codling.scale.workload import Workload
from codling.train.sharding import MeshConfig


def test_axes_that_are_left_out_are_one() -> None:
    assert parse_mesh("fsdp=4, data=2") == MeshConfig(data=2, fsdp=4)
    assert parse_mesh(None) is None
    assert parse_remat("layers") is Remat.LAYERS


@pytest.mark.parametrize("text", ["", "data", "data=", "data=0", "data=x", "model=4", "data=2,data=4", "data:4"])
def test_what_is_no_mesh_is_named(text: str) -> None:
    with pytest.raises(UserError, match=r"write it as data=8,fsdp=256.*axes are data, fsdp, sequence, tensor"):
        parse_mesh(text)


def test_what_is_no_policy_is_named() -> None:
    with pytest.raises(UserError, match="unknown rematerialization 'all' \\(known: nothing, attention, layers\\)"):
        parse_remat("all")


@pytest.mark.parametrize(
    ("mesh", "problem"),
    [
        (MeshConfig(data=4), "is 4 devices, the machine has 8"),
        (MeshConfig(tensor=8), "tensor = 8 does not divide num_query_heads 4"),
        (MeshConfig(fsdp=8), "data 1 is not a multiple of the 2 slices"),
    ],
)
def test_a_mesh_has_to_divide_machine_model_and_slices(workload: Workload, mesh: MeshConfig, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        check_layout(workload, parse_machine("tpu-v4:2x4"), Layout(mesh, Remat.LAYERS))


def test_parameters_may_be_split_over_the_servers_of_a_gpu_cluster(workload: Workload) -> None:
    check_layout(workload, parse_machine("gpu-h100:16"), Layout(MeshConfig(fsdp=16), Remat.LAYERS))
