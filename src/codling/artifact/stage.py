"""The stage contract: a stage is a function of its configuration, its inputs and a key; it leaves one artifact.

Its directory is `<out>/<id>`, and the id is a hash of all that the result depends on. So a stage that is done is never
run again, one that was killed goes on in its directory, and one whose configuration changed gets a directory of its
own.
"""

import datetime
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jaxtyping import PRNGKeyArray

from codling.artifact.manifest import (
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
from codling.artifact.workspace import Reporter, Workspace
from codling.config import to_dict
from codling.errors import UserError

STARTED_FILE = "started.json"
CHECKPOINTS_DIRECTORY = "checkpoints"


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
    """Run a stage in `store`, or go on with it, or return what it left when it is done already."""
    config = to_dict(stage.config)
    input_ids = {role: artifact.manifest.id for role, artifact in inputs.items()}
    identity = artifact_id(stage.name, stage.version, config, seed, input_ids)
    directory = store / identity
    if (directory / "manifest.json").exists():
        return load_artifact(directory, stage.kind)
    started = _claim(directory, identity)
    start_s = time.perf_counter()
    workspace = Workspace(stage.name, directory, reporter)
    # The key depends on the stage's name too: two stages of one recipe must not draw the same numbers.
    key = jax.random.key(int.from_bytes(artifact_id(stage.name, 0, {}, seed, {}).encode()[-7:]) % 2**31)
    metrics = stage.run(stage.config, inputs, workspace, key)
    files = sorted(path for path in directory.rglob("*") if path.is_file() and _is_result(path, directory))
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
    return Artifact(directory, manifest)


def _claim(directory: Path, identity: str) -> str:
    """Mark the directory as this stage's; refuse one that holds something else. Returns when work began."""
    marker = directory / STARTED_FILE
    if directory.exists() and any(directory.iterdir()):
        if not marker.exists() or json.loads(marker.read_text(encoding="utf-8")).get("id") != identity:
            raise UserError(f"{directory}: not empty and not begun by this stage; choose another --out or remove it")
        return str(json.loads(marker.read_text(encoding="utf-8"))["started"])
    directory.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    partial = marker.with_suffix(".partial")
    partial.write_text(json.dumps({"id": identity, "started": now}), encoding="utf-8")
    partial.replace(marker)
    return now


def _is_result(path: Path, directory: Path) -> bool:
    """Metrics hold wall times and checkpoints are working files: neither is part of the result's identity."""
    top = path.relative_to(directory).parts[0]
    return top not in {STARTED_FILE, CHECKPOINTS_DIRECTORY, "metrics.jsonl", "tensorboard"}
