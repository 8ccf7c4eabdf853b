"""Checkpoints of a running stage: the whole training state and the loader's position, by Orbax.

A checkpoint appears under its final name only when it is complete, so a kill in the middle leaves the one
before. They are working files: when the stage is done its artifact holds the weights, and the checkpoints are
deleted.
"""

import shutil
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import orbax.checkpoint as ocp

T = TypeVar("T")


class Restored(NamedTuple):
    """A state read back, and the loader's position that belongs to it."""

    state: Any
    loader_state: dict[str, Any]
    step: int


class Checkpoints:
    """The newest checkpoint of one stage."""

    def __init__(self, directory: Path) -> None:
        """Use `directory`, which is made if it is not there."""
        self._directory = directory
        options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(directory.absolute(), options=options)

    def save(self, step: int, state: T, loader_state: dict[str, Any]) -> None:
        """Write the state after `step` updates; returns when it is on disk."""
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(dict(enumerate(_leaves(state)))),
            loader=ocp.args.JsonSave(loader_state),
        )
        self._manager.save(step, args=args)
        self._manager.wait_until_finished()

    def restore(self, like: T) -> Restored | None:
        """Read the newest checkpoint, structured and placed like `like`; None where there is none."""
        step = self._manager.latest_step()
        if step is None:
            return None
        leaves = dict(enumerate(_leaves(like)))
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, leaves)
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract), loader=ocp.args.JsonRestore())
        restored = self._manager.restore(step, args=args)
        arrays, static = eqx.partition(like, eqx.is_array)
        state = jax.tree.unflatten(jax.tree.structure(arrays), [restored.state[index] for index in leaves])
        return Restored(eqx.combine(state, static), restored.loader, step)

    def delete(self) -> None:
        """Remove all checkpoints."""
        self._manager.close()
        shutil.rmtree(self._directory, ignore_errors=True)


def _leaves(state: Any) -> list[jax.Array]:
    return jax.tree.leaves(eqx.filter(state, eqx.is_array))
