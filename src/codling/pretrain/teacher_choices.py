"""A teacher's first choices for the very batches of a stage, written once and read back by the loader.

The other way to distil runs the teacher inside every step. Both cost one forward pass of the teacher a token and give
the same losses; written choices leave the step's memory to the student, and are read again by a stage that was killed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from codling.artifact.workspace import Workspace
from codling.data.loader import Batch, BatchLoader
from codling.model.transformer import Transformer

CHOICES_FILE = "teacher_choices.npy"


class DistillBatch(NamedTuple):
    """Rows, and what the teacher would say next at each place."""

    rows: Batch
    choices: Int[np.ndarray, "B T"]

    @property
    def tokens(self) -> np.ndarray | jax.Array:
        """The rows' inputs."""
        return self.rows.tokens


def write_choices(teacher: Transformer, loader: BatchLoader, num_steps: int, out: Workspace) -> Path:
    """Run the teacher over the stage's batches, from the loader's place on; the loader is put back there.

    A file that is there already is complete, and used as it is: a half-written one has another name.
    """
    path = out.path / CHOICES_FILE
    if path.exists():
        return path
    start = loader.get_state()
    partial = path.with_suffix(".partial")
    choices: Any = None
    with out.progress(num_steps) as progress:
        for step in range(num_steps):
            of_batch = np.asarray(first_choices(teacher, next(loader)))
            if choices is None:
                choices = np.lib.format.open_memmap(partial, "w+", np.int32, (num_steps, *of_batch.shape))
            choices[step] = of_batch
            progress.update(step + 1)
    choices.flush()
    partial.rename(path)
    loader.set_state(start)
    return path


@eqx.filter_jit
def first_choices(teacher: Transformer, batch: Batch) -> Int[Array, "B T"]:
    """The likeliest next token at every place; logits are alive for one row at a time."""
    tokens, positions, segment_ids = (jnp.asarray(x) for x in (batch.tokens, batch.positions, batch.segment_ids))
    hidden = teacher(tokens, positions, segment_ids, rope_theta=teacher.config.rope_theta)
    choices: Array = jax.lax.map(lambda row: jnp.argmax(teacher.logits(row), axis=-1).astype(jnp.int32), hidden)
    return choices


class ChoicesLoader:
    """The batches of a loader, each with the choices written for it."""

    def __init__(self, loader: BatchLoader, path: Path) -> None:
        self._loader, self._choices = loader, np.load(path, mmap_mode="r")

    def __next__(self) -> DistillBatch:
        index = self._loader.get_state()["next_index"]
        return DistillBatch(next(self._loader), np.asarray(self._choices[index]))

    def get_state(self) -> dict[str, int]:
        """Where the loader stands."""
        return self._loader.get_state()

    def set_state(self, state: Mapping[str, int]) -> None:
        """Go to where `get_state` was called."""
        self._loader.set_state(state)
