import jax
import pytest

from codling.errors import UserError
from codling.model.count import count_parameters
from codling.model.execution import Remat
from codling.scale import compiled as module
from codling.scale.collectives import Kind, by_kind
from codling.scale.compiled import DoesNotFit, abstract_arguments, compile_step
from codling.scale.workload import Workload
from codling.train.sharding import MeshConfig, build_mesh

RESERVED = "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. "


@pytest.fixture
def mesh() -> jax.sharding.Mesh:
    return build_mesh(MeshConfig(fsdp=2), jax.devices()[:2])


def test_the_true_step_holds_its_state_and_gathers_its_weights(workload: Workload, mesh: jax.sharding.Mesh) -> None:
    compiled = compile_step(workload, mesh, Remat.LAYERS, 1, is_quick=True)
    count = count_parameters(workload.model)
    batch = 5 * 4 * 16 * 128 // 2
    assert compiled.argument_bytes == pytest.approx(3 * 4 * count.total / 2 + batch, rel=0.02)
    assert compiled.temporary_bytes > 4 * count.total / 2
    traffic = by_kind(compiled.collectives)
    assert traffic[Kind.ALL_GATHER].fast_bytes > count.non_embedding
    assert compiled.peak_host_bytes > 2**20


def test_arguments_are_shapes_that_lie_on_the_mesh(workload: Workload, mesh: jax.sharding.Mesh) -> None:
    state, frozen, batch, _, _ = abstract_arguments(workload, mesh)
    assert frozen is None
    assert state.params.embedding.sharding.shard_shape((512, 64)) == (512, 32)
    assert batch.tokens.sharding.shard_shape((16, 128)) == (8, 128)


@pytest.mark.parametrize(
    ("message", "needed_bytes"),
    [
        (f"{RESERVED}Used 120.50G of 95.74G hbm.", 120.5 * 2**30),
        ("the total memory required for HLO temporaries (31.91G) exceeds available HBM (30.75G).", 31.91 * 2**30),
    ],
)
def test_the_compilers_refusal_says_how_much(message: str, needed_bytes: float) -> None:
    found = module.REFUSAL.search(message)
    assert found is not None
    assert float(found[1]) * 1024 ** (1 + "KMGT".index(found[2])) == pytest.approx(needed_bytes)
    assert DoesNotFit(needed_bytes).needed_bytes == needed_bytes


def test_rows_that_the_tpu_kernel_does_not_take_are_named(workload: Workload) -> None:
    with pytest.raises(UserError, match="small: sequence length 100 is not a multiple of 128"):
        module._check_kernel(workload._replace(sequence_length_tokens=100))
