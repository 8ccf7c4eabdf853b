import pytest

from codling.model.count import count_parameters
from codling.model.execution import Remat
from codling.scale.collectives import Collective, Kind
from codling.scale.machine import parse_machine
from codling.scale.roofline import (
    EFFICIENCY,
    OPTIMIZER_BYTES,
    WEIGHT_BYTES,
    memory_traffic_bytes,
    model_flops,
    recomputed_flops,
    roofline,
)
from codling.scale.workload import Workload

TOKENS, LENGTH = 16 * 128, 128
ATTENTION = 3 * 4 * 16 * LENGTH  # layers, query width, positions: a query meets half of them, twice two operations each


def test_the_terms_by_hand(workload: Workload) -> None:
    machine = parse_machine("tpu-v4:2x4")
    collectives = [
        Collective(Kind.ALL_GATHER, 90_000_000, (0, 1, 2, 3), times=10),  # over both links of a host's square
        Collective(Kind.ALL_REDUCE, 6_250_000, (0,), num_slices=2),
    ]
    terms = roofline(workload, machine, Remat.NOTHING, 1.228e9, collectives)
    total = count_parameters(workload.model).total
    flops = TOKENS * (6 * total + 6 * ATTENTION)
    assert model_flops(workload) == flops
    assert terms.compute_s == pytest.approx(flops / 8 / (275e12 * EFFICIENCY))
    assert terms.memory_s == pytest.approx(1e-3)
    assert terms.fast_network_s == pytest.approx(10 * 0.75 * 90e6 / (2 * 45e9))
    assert terms.slow_network_s == pytest.approx(1e-3)
    assert terms.step_s == pytest.approx(sum(terms))
    assert terms.binding == "network"
    assert terms.overlapped_s == terms.network_s


def test_what_is_computed_again(workload: Workload) -> None:
    layers = count_parameters(workload.model).non_embedding
    assert recomputed_flops(workload, Remat.NOTHING) == 0
    assert recomputed_flops(workload, Remat.ATTENTION) == TOKENS * 2 * ATTENTION
    assert recomputed_flops(workload, Remat.LAYERS) == TOKENS * 2 * (layers + ATTENTION)


def test_memory_traffic_by_hand(workload: Workload) -> None:
    moved = memory_traffic_bytes(workload, 8, 1000.0, 3000.0, Remat.LAYERS)
    values = 12 * 64 + 6 * (64 + 32 + 128)
    activations = TOKENS / 8 * 3 * values * 2 * 4  # layers, bfloat16; forward twice, backward as two of it
    assert moved == 1000 * OPTIMIZER_BYTES + 3000 * WEIGHT_BYTES + activations + TOKENS / 8 * 512 * 18
