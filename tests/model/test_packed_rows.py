import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.model.attention import attend_masked
from codling.model.execution import AttentionKernel, ComputeConfig, ComputeType, Execution
from codling.model.packed_rows import PackedRows, _chosen
from codling.model.partition import Partition
from codling.train.sharding import MeshConfig, build_mesh


def test_queries_are_scaled_once() -> None:
    random = np.random.default_rng(0)
    queries, keys, values = (jnp.asarray(random.normal(size=(1, 6, n, 4)), jnp.float32) for n in (4, 2, 2))
    attended, _ = PackedRows(jnp.ones((1, 6), jnp.int32)).attend(queries, keys, values)
    expected = attend_masked(queries, keys, values, jnp.tril(jnp.ones((1, 6, 6), bool)))
    np.testing.assert_allclose(attended, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ComputeType)
def test_on_a_cpu_our_blocks_are_chosen_and_a_recipe_may_choose_otherwise(dtype: ComputeType) -> None:
    assert jax.default_backend() == "cpu"
    assert _chosen(Execution(ComputeConfig(dtype=dtype))) is AttentionKernel.BLOCKS
    assert _chosen(Execution(ComputeConfig(attention=AttentionKernel.SPLASH))) is AttentionKernel.SPLASH


@pytest.mark.parametrize("kernel", [AttentionKernel.BLOCKS, AttentionKernel.SPLASH])
@pytest.mark.parametrize("axis", [None, "data", "fsdp", "sequence", "tensor"])
def test_on_every_mesh_a_segment_sees_the_one_that_it_continues(kernel: AttentionKernel, axis: str | None) -> None:
    """Blocks stand in for Splash there, on this machine too."""
    random = np.random.default_rng(0)
    queries, keys, values = (jnp.asarray(random.normal(size=(2, 8, n, 4)), jnp.float32) for n in (4, 2, 2))
    segments = jnp.asarray([[1, 1, 1, 2, 2, 3, 3, 0], [1, 2, 2, 2, 3, 4, 4, 4]], jnp.int32)
    prefixes = jnp.asarray([[1, 1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 3, 3, 3, 3]], jnp.int32)
    partition = None if axis is None else Partition(build_mesh(MeshConfig(**{axis: 2})))
    rows = PackedRows(segments, Execution(ComputeConfig(attention=kernel), partition), prefixes)
    attended = jax.jit(lambda *heads: rows.attend(*heads)[0])(queries, keys, values)
    in_segment = (segments[:, :, None] == segments[:, None]) | (prefixes[:, :, None] == segments[:, None])
    expected = attend_masked(queries, keys, values, jnp.tril(in_segment))
    np.testing.assert_allclose(attended, expected, rtol=1e-4, atol=1e-5)
