"""The stage contract: a stage is a function of its configuration, its inputs and a key; it leaves one artifact.

Its directory is `<out>/<id>`, and the id is a hash of all that the result depends on. So a stage that is done is never
run again, one that was killed goes on in its directory, and one whose configuration changed gets a directory of its
own.
"""

import datetime
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jaxtyping import PRNGKeyArray

from codling.artifact.manifest import (
    MANIFEST_FILE,
    MANIFEST_PARTIAL_FILE,
    SCHEMA_VERSION,
    Manifest,
    artifact_id,
    file_sha256,
    hardware,
    library_versions,
    read_manifest,
    source_commit,
    write_manifest,
)
from codling.artifact.processes import is_lead, wait_for_all
from codling.artifact.workspace import CHECKPOINTS_DIRECTORY, Reporter, SilentReporter, Workspace
from codling.config import to_dict
from codling.errors import UserError

STARTED_FILE = "started.json"
STARTED_PARTIAL_FILE = "started.json.partial"


class Artifact(NamedTuple):
    """A finished stage's directory and its manifest."""

    path: Path
    manifest: Manifest


Inputs = Mapping[str, Artifact]

Run = Callable[[Any, Inputs, Workspace, PRNGKeyArray], dict[str, Any]]
"""(config, inputs, workspace, key) -> headline metrics; files are left in the workspace."""


class Stage(NamedTuple):
    """One node of a recipe's graph."""

    name: str
    kind: str
    version: int
    """Raise it whenever the code changes what comes out: finished artifacts of other versions are not reused."""
    config: object
    inputs: dict[str, str]
    """Role -> name of the stage that fills it."""
    run: Run


def load_artifact(directory: Path, *kinds: str) -> Artifact:
    """Open a finished artifact. Errors: `UserError` if it is not one, or of none of the kinds."""
    manifest = read_manifest(directory)
    if kinds and manifest.kind not in kinds:
        raise UserError(f"{directory}: is a {manifest.kind} artifact, need {' or '.join(kinds)}")
    return Artifact(directory, manifest)


def run_stage(stage: Stage, inputs: Inputs, store: Path, seed: int, reporter: Reporter) -> Artifact:
    """Run a stage in `store`, or go on with it, or return what it left when it is done already.

    Of several processes each runs it, and the lead writes what it leaves.
    """
    config = to_dict(stage.config)
    input_ids = {role: artifact.manifest.id for role, artifact in inputs.items()}
    identity = artifact_id(stage.name, stage.version, config, seed, input_ids)
    directory = store / identity
    # The key depends on the stage's name too: two stages of one recipe must not draw the same numbers.
    key = jax.random.key(int(artifact_id(stage.name, 0, {}, seed, {}).rpartition("-")[2][:7], base=16))
    is_done = (directory / MANIFEST_FILE).exists()
    started = _claim(directory, identity) if is_lead() and not is_done else ""
    wait_for_all(f"begin {identity}")
    if not is_done and is_lead():
        start_s = time.perf_counter()
        metrics = stage.run(stage.config, inputs, Workspace(stage.name, directory, reporter), key)
        files = sorted(path for path in directory.rglob("*") if path.is_file() and is_result(path, directory))
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            id=identity,
            kind=stage.kind,
            stage=stage.name,
            stage_version=stage.version,
            seed=seed,
            config=config,
            inputs=input_ids,
            metrics=metrics,
            files_sha256={str(path.relative_to(directory)): file_sha256(path) for path in files},
            commit=source_commit(),
            libraries=library_versions(),
            hardware=hardware(),
            started=started,
            wall_time_s=round(time.perf_counter() - start_s, 3),
        )
        write_manifest(directory, manifest)
    elif not is_done:
        with tempfile.TemporaryDirectory() as own:
            stage.run(stage.config, inputs, Workspace(stage.name, Path(own), SilentReporter(), directory), key)
    wait_for_all(f"end {identity}")
    if is_lead():
        _drop_checkpoints(directory)
    return load_artifact(directory, stage.kind)


def is_result(path: Path, directory: Path) -> bool:
    """Whether a file is part of what a stage made, and not of how it went.

    Metrics hold wall times, and checkpoints and markers are working files.
    """
    working = {STARTED_FILE, STARTED_PARTIAL_FILE, MANIFEST_FILE, MANIFEST_PARTIAL_FILE}
    return path.relative_to(directory).parts[0] not in working | {CHECKPOINTS_DIRECTORY, "metrics.jsonl", "tensorboard"}


def _claim(directory: Path, identity: str) -> str:
    """Mark the directory as this stage's; refuse one that holds something else. Returns when work began."""
    marker, partial = directory / STARTED_FILE, directory / STARTED_PARTIAL_FILE
    if marker.is_file():
        begun = _read_marker(marker)
        if begun.get("id") == identity:
            return str(begun.get("started"))
    # A kill while the marker was written leaves its first half and nothing else.
    elif not directory.exists() or not any(path != partial for path in directory.iterdir()):
        directory.mkdir(parents=True, exist_ok=True)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        partial.write_text(json.dumps({"id": identity, "started": now}), encoding="utf-8")
        partial.replace(marker)
        return now
    raise UserError(f"{directory}: not empty and not begun by this stage; choose another --out or remove it")


def _read_marker(marker: Path) -> dict[str, Any]:
    try:
        values = json.loads(marker.read_text(encoding="utf-8"))
    except ValueError:
        values = None
    return values if isinstance(values, dict) else {}


def _drop_checkpoints(directory: Path) -> None:
    """A finished stage has no use for them, and they take three times the room of its weights."""
    shutil.rmtree(directory / CHECKPOINTS_DIRECTORY, ignore_errors=True)
