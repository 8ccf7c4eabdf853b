import pytest

from codling.model.count import count_parameters
from codling.model.execution import Remat
from codling.scale.collectives import Kind, by_kind
from codling.scale.estimate import estimate_bytes, estimate_collectives, kept_activations_bytes
from codling.scale.machine import parse_machine
from codling.scale.workload import Workload
from codling.train.sharding import MeshConfig


def test_parameters_moments_and_gradients_are_float32_and_split(workload: Workload) -> None:
    total = count_parameters(workload.model).total
    held = estimate_bytes(workload, MeshConfig(data=2, fsdp=2, tensor=2), Remat.LAYERS)
    assert held[:3] == (total, 2 * total, total)
    assert held.total == sum(held)


def test_a_layers_input_is_all_that_full_rematerialization_keeps(workload: Workload) -> None:
    kept = [kept_activations_bytes(workload, MeshConfig(data=8), remat) for remat in Remat]
    assert kept[2] == 16 * 128 / 8 * 3 * 64 * 2
    assert kept[0] > kept[1] > kept[2]


def test_data_parallel_alone_sums_all_gradients_once(workload: Workload) -> None:
    (only,) = estimate_collectives(workload, MeshConfig(data=16), Remat.NOTHING, parse_machine("gpu-h100:16"))
    assert only[:4] == (Kind.ALL_REDUCE, 4 * count_parameters(workload.model).total, tuple(range(8)), 2)


@pytest.mark.parametrize(("mesh", "kinds"), [
    (MeshConfig(fsdp=8), {Kind.ALL_GATHER, Kind.REDUCE_SCATTER}),
    (MeshConfig(data=2, fsdp=4), {Kind.ALL_GATHER, Kind.ALL_REDUCE, Kind.REDUCE_SCATTER}),
])  # fmt: skip
def test_weights_are_gathered_and_gradients_scattered(workload: Workload, mesh: MeshConfig, kinds: set[Kind]) -> None:
    found = estimate_collectives(workload, mesh, Remat.LAYERS, parse_machine("gpu-h100:8"))
    assert set(by_kind(found)) == kinds
    gathered = sum(one.size_bytes * one.times for one in found if one.kind is Kind.ALL_GATHER)
    count = count_parameters(workload.model)
    assert gathered == pytest.approx(2 * (2 * count.non_embedding + count.embedding), rel=0.01)


def test_recomputed_layers_gather_their_tokens_once_more(workload: Workload) -> None:
    mesh, machine = MeshConfig(fsdp=4, tensor=2), parse_machine("gpu-h100:8")

    def gathered(remat: Remat) -> float:
        return by_kind(estimate_collectives(workload, mesh, remat, machine))[Kind.ALL_GATHER].fast_bytes

    assert gathered(Remat.LAYERS) > gathered(Remat.ATTENTION) == gathered(Remat.NOTHING)


def test_narrow_parts_are_summed_whole_on_tpus(workload: Workload) -> None:
    found = estimate_collectives(workload, MeshConfig(fsdp=4), Remat.LAYERS, parse_machine("tpu-v4:4"))
    assert Kind.ALL_REDUCE in by_kind(found)
