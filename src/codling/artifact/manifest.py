"""The manifest: what an artifact is, and everything needed to say where it came from.

It is the last file that a stage writes, so a directory with a manifest is complete, and one without is not.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from codling.config import config, from_dict, to_dict
from codling.errors import UserError

MANIFEST_FILE = "manifest.json"
MANIFEST_PARTIAL_FILE = "manifest.json.partial"
SCHEMA_VERSION = 1
RECORDED_LIBRARIES = ("codling", "jax", "jaxlib", "equinox", "optax", "grain", "numpy", "sentencepiece")


@config
class Manifest:
    """One artifact's own account of itself."""

    schema_version: int
    id: str
    """<stage>-<hash of stage version, config, seed and input ids>."""
    kind: str
    """What it may be used as: tokenizer, tokens, model, palettized_model, adapter, bundle, measurements, report."""
    stage: str
    stage_version: int
    """Raised whenever the stage's code changes what comes out."""
    seed: int
    config: dict[str, Any]
    """The stage's configuration, in full."""
    inputs: dict[str, str]
    """Role -> id of the artifact that filled it."""
    metrics: dict[str, Any]
    """The stage's headline figures."""
    files_sha256: dict[str, str]
    commit: str
    libraries: dict[str, str]
    hardware: dict[str, Any]
    started: str
    """UTC, ISO 8601."""
    wall_time_s: float


def artifact_id(stage: str, version: int, config: dict[str, Any], seed: int, inputs: dict[str, str]) -> str:
    """The same stage, code version, config, seed and inputs give the same id, on every machine."""
    identity = json.dumps([stage, version, config, seed, inputs], sort_keys=True)
    return f"{stage}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write the manifest in one step, so that it is never seen half written."""
    partial = directory / MANIFEST_PARTIAL_FILE
    partial.write_text(json.dumps(to_dict(manifest), indent=1) + "\n", encoding="utf-8")
    partial.replace(directory / MANIFEST_FILE)


def read_manifest(directory: Path) -> Manifest:
    """Read an artifact's manifest. Errors: `UserError` when there is none, or it cannot be read."""
    path = directory / MANIFEST_FILE
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory")
    if not path.is_file():
        raise UserError(f"{directory}: not a finished codling artifact (it has no {MANIFEST_FILE})")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise UserError(f"{path}: not JSON; the artifact is damaged, build it again") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: not a JSON object; the artifact is damaged, build it again")
    if values.get("schema_version") != SCHEMA_VERSION:
        raise UserError(f"{path}: schema version {values.get('schema_version')}, this codling reads {SCHEMA_VERSION}")
    return from_dict(Manifest, values, source=str(path))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def library_versions() -> dict[str, str]:
    """Versions of what computes the result."""
    return {name: importlib.metadata.version(name) for name in RECORDED_LIBRARIES}


def hardware() -> dict[str, Any]:
    """The machine in words."""
    return {
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def source_commit() -> str:
    """The commit that this code was checked out from, with `+changes` where the files differ; or `unknown`."""
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        return commit + ("+changes" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(directory: Path, *arguments: str) -> str:
    command = ["git", "-C", str(directory), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
