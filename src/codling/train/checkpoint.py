"""Checkpoints of a running stage: the whole training state and its position in the data, by Orbax.

Arrays are written shard by shard, each by who holds it, while training goes on; they are read back onto whatever mesh
the run then has. Beside them lies a record: what the arrays are, their checksums, and the position. Only a checkpoint
whose record and arrays prove whole is used; one that is not is named, put aside, and the one before is tried.

Checkpoints are working files: when the stage is done its artifact holds the weights, and they are deleted.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import orbax.checkpoint as ocp

from codling.artifact.manifest import library_versions
from codling.errors import UserError
from codling.train.fingerprint import ArrayFacts, array_facts, checksums, first_difference, is_array, named_arrays

RECORD_SCHEMA_VERSION = 1
HALF_WRITTEN = "*.orbax-checkpoint-tmp*"
DAMAGED_PREFIX = "damaged-"
NOT_DAMAGE = (UserError, PermissionError, MemoryError, jax.errors.JaxRuntimeError)
"""What may go wrong while a checkpoint that is whole is read."""


class Keep(NamedTuple):
    """Which checkpoints stay; the newest always does."""

    save_every_steps: int
    last: int = 2
    """This many of the newest; those between the scheduled steps, as SIGTERM leaves them, do not count."""
    every_steps: int | None = None
    """And those of all multiples of this, as long as the stage runs."""

    def should_preserve(self, checkpoints: Sequence[Any], *, context: object) -> list[bool]:
        """Judge the checkpoints there are, oldest first, in the way Orbax asks."""
        steps = [checkpoint.step for checkpoint in checkpoints]
        scheduled = [step for step in steps if step % self.save_every_steps == 0]
        kept = {*steps[-1:], *scheduled[-self.last :]}
        return [step in kept or (self.every_steps is not None and step % self.every_steps == 0) for step in steps]


class Restored(NamedTuple):
    """A state read back, and the position in the data that belongs to it."""

    state: Any
    position: dict[str, Any]
    step: int


class Checkpoints:
    """The checkpoints of one stage. To be used in a `with`, whose end waits for the last one to be on disk."""

    def __init__(self, directory: Path, keep: Keep, *, owner: str, warn: Callable[[str], None]) -> None:
        """Use `directory`, which is made if it is not there.

        owner: who trains here, such as the id of the artifact in the making: it alone may go on from what it saved.
        """
        self._directory, self._owner, self._warn = directory, owner, warn
        half_written = [path.name.partition(".")[0] for path in directory.glob(HALF_WRITTEN)]
        self._half_written = {int(name) for name in half_written if name.isdigit()}
        options = ocp.CheckpointManagerOptions(
            preservation_policy=keep, cleanup_tmp_directories=True, lightweight_initialize=True
        )
        self._manager = ocp.CheckpointManager(directory.absolute(), options=options)

    def save(self, step: int, state: Any, position: dict[str, Any]) -> None:
        """Begin to write the state after `step` updates; returns when it is copied and may be changed.

        Waits for the checkpoint before this one. Errors of its writing come out here, or at the end.
        """
        arrays = named_arrays(state)
        record: dict[str, Any] = {
            "schema_version": RECORD_SCHEMA_VERSION,
            "step": step,
            "owner": self._owner,
            "libraries": library_versions(),
            "arrays": [facts._asdict() for facts in array_facts(arrays)],
            "checksums": checksums(arrays),
            "position": position,
        }
        record["sha256"] = _record_sha256(record)
        args = ocp.args.Composite(state=ocp.args.StandardSave(arrays), record=ocp.args.JsonSave(record))
        self._manager.save(step, args=args, force=True)

    def wait(self) -> None:
        """Return when all that was saved is on disk."""
        self._manager.wait_until_finished()

    def restore(self, like: Any) -> Restored | None:
        """Read the newest checkpoint that is whole, structured and placed like `like`; None where there is none.

        Shapes, types and shardings are all that is asked of `like`: `jax.ShapeDtypeStruct`s do.
        Errors: `UserError` for a checkpoint of other arrays or another owner; it is left as it is.
        """
        self.wait()
        problems: list[str] = []
        restored = None
        for step in sorted({*self._manager.all_steps(), *self._half_written}, reverse=True):
            if step not in self._manager.all_steps():
                problems.append(f"checkpoint {step} is half-written")
                continue
            try:
                restored = self._read(step, like)
                break
            except NOT_DAMAGE:
                raise
            except Exception as error:
                aside = self._put_aside(step)
                problems.append(f"checkpoint {step} is damaged ({_first_line(error)}), kept as {aside.name}")
        self._half_written.clear()
        if problems:
            choice = f"going on from checkpoint {restored.step}" if restored else "starting from the beginning"
            self._warn(f"{self._directory}: {'; '.join(problems)}; {choice}")
        return restored

    def go_back(self, step: int, like: Any) -> Restored | None:
        """Delete the checkpoints after `step`, and read the newest of the others."""
        self.wait()
        for later in [later for later in self._manager.all_steps() if later > step]:
            self._manager.delete(later)
        return self.restore(like)

    def delete(self) -> None:
        """Remove all checkpoints."""
        self._manager.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, error_type: object, *_: object) -> None:
        """Wait for the last checkpoint; an error that is on its way out goes before one of writing."""
        with contextlib.suppress(*([Exception] if error_type is not None else [])):
            self._manager.close()

    def _read(self, step: int, like: Any) -> Restored:
        """Read one checkpoint. Errors: `UserError` if it is somebody else's, any other if it is not whole."""
        args = ocp.args.Composite(record=ocp.args.JsonRestore())
        record = self._manager.restore(step, args=args).record
        if record["sha256"] != _record_sha256(record) or record["step"] != step:
            raise ValueError("its record was changed")
        arrays = named_arrays(like)
        self._check_owner(step, record, array_facts(arrays))
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, arrays)
        read = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))).state
        read = {name: read[name] for name in arrays}
        for name, found, expected in zip(arrays, checksums(read), record["checksums"], strict=True):
            if found != expected:
                raise ValueError(f"{name} does not match its checksum")
        dynamic, static = eqx.partition(like, is_array)
        state = jax.tree.unflatten(jax.tree.structure(dynamic), list(read.values()))
        return Restored(eqx.combine(state, static), record["position"], step)

    def _check_owner(self, step: int, record: dict[str, Any], wanted: list[ArrayFacts]) -> None:
        place = f"{self._directory}: checkpoint {step}"
        mend = "move it away to begin anew, or go on with what wrote it"
        if record["schema_version"] != RECORD_SCHEMA_VERSION:
            version = record["libraries"]["codling"]
            raise UserError(f"{place} was written by codling {version} in another format; {mend}")
        saved = [ArrayFacts(facts["name"], tuple(facts["shape"]), facts["dtype"]) for facts in record["arrays"]]
        difference = first_difference(saved, wanted)
        if difference is not None:
            raise UserError(f"{place} is of another architecture or tokenizer ({difference}); {mend}")
        if record["owner"] != self._owner:
            raise UserError(f"{place} belongs to {record['owner']}, not to {self._owner}; {mend}")

    def _put_aside(self, step: int) -> Path:
        """Rename a checkpoint, so that it is neither read nor in the way of the next of its step."""
        aside = self._directory / f"{DAMAGED_PREFIX}{step}"
        shutil.rmtree(aside, ignore_errors=True)
        (self._directory / str(step)).rename(aside)
        self._manager.reload()
        return aside


def _record_sha256(record: dict[str, Any]) -> str:
    content = {name: value for name, value in record.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
