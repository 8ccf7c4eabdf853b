from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]
import pytest

from codling.model.transformer import Transformer
from codling.train.checkpoint import Checkpoints
from codling.train.sharding import data_mesh, replicate
from codling.train.state import TrainState, init_state

OPTIMIZER = optax.adamw(0.1)


def make_state(model: Transformer, value: float) -> TrainState[Any]:
    """A state on both devices, in which every array is another one."""
    leaves, structure = jax.tree.flatten(init_state(model, OPTIMIZER))
    changed = [leaf + jnp.asarray(number * value, leaf.dtype) for number, leaf in enumerate(leaves)]
    state: TrainState[Any] = replicate(jax.tree.unflatten(structure, changed), data_mesh(2))
    return state


@pytest.fixture(scope="module")
def state(tiny_model: Transformer) -> TrainState[Any]:
    return make_state(tiny_model, 1.0)


def test_what_is_saved_is_restored_bit_for_bit_where_it_was(
    tmp_path: Path, state: TrainState[Any], tiny_model: Transformer
) -> None:
    Checkpoints(tmp_path / "c").save(7, state, {"next_index": 2**40, "names": ["a"]})
    restored = Checkpoints(tmp_path / "c").restore(make_state(tiny_model, 0.0))
    assert restored is not None
    assert (restored.step, restored.loader_state) == (7, {"next_index": 2**40, "names": ["a"]})
    assert eqx.tree_equal(restored.state, state)
    for leaf, expected in zip(*map(jax.tree.leaves, (restored.state, state)), strict=True):
        assert leaf.sharding == expected.sharding


def test_without_a_checkpoint_there_is_nothing_to_restore(tmp_path: Path, state: TrainState[Any]) -> None:
    assert Checkpoints(tmp_path / "c").restore(state) is None


def test_the_newest_is_kept_and_an_unfinished_one_is_not_seen(tmp_path: Path, state: TrainState[Any]) -> None:
    small = {"weight": np.arange(3.0, dtype=np.float32)}
    checkpoints = Checkpoints(tmp_path / "c")
    for step in (1, 2):
        checkpoints.save(step, jax.tree.map(lambda x, step=step: jnp.asarray(x * step), small), {"next_index": step})
    assert [path.name for path in (tmp_path / "c").iterdir() if path.name.isdigit()] == ["2"]
    # What a kill in the middle of the next one leaves.
    (tmp_path / "c" / "3.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "c" / "3.orbax-checkpoint-tmp" / "state").mkdir()
    restored = Checkpoints(tmp_path / "c").restore(jax.tree.map(jnp.asarray, small))
    assert restored is not None
    assert restored.step == 2
    np.testing.assert_array_equal(restored.state["weight"], [0, 2, 4])


def test_a_deleted_directory_is_gone(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(1, {"weight": jnp.ones(2)}, {})
    checkpoints.delete()
    assert not (tmp_path / "c").exists()
