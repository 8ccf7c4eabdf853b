"""What ran where, on what, and when: as far as the stages agree, once; where they differ, each."""

from collections.abc import Iterable
from typing import NamedTuple

from codling.artifact.stage import Inputs


class Fact(NamedTuple):
    """One thing that is on record."""

    name: str
    values: tuple[str, ...]
    """More than one where stages of this build differ."""


def provenance(inputs: Inputs) -> list[Fact]:
    """Machine, libraries, commit, seed and times of the whole build."""
    manifests = [artifact.manifest for artifact in inputs.values()]
    machines = [manifest.hardware for manifest in manifests]
    return [
        Fact("Processor", _all(f"{m.get('processor', 'unknown')}, {m.get('cores', '?')} cores" for m in machines)),
        Fact("Memory", _all(f"{m.get('memory_gib', '?')} GiB" for m in machines)),
        Fact("System", _all(f"{m.get('system', 'unknown')}, Python {m.get('python', '?')}" for m in machines)),
        Fact("Libraries", _all(", ".join(f"{k} {v}" for k, v in m.libraries.items()) for m in manifests)),
        Fact("Commit", _all(manifest.commit for manifest in manifests)),
        Fact("Seed", _all(str(manifest.seed) for manifest in manifests)),
        Fact("First stage started", (min(manifest.started for manifest in manifests),)),
        Fact("Last stage started", (max(manifest.started for manifest in manifests),)),
    ]


def _all(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))
