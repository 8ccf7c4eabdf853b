"""The table of stages: what each took, and what it did to the held-out loss."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from codling.artifact.stage import Artifact, Inputs
from codling.report.formats import Verdict, verdict
from codling.report.titles import Lane, full_title, is_feature_adapter, lane, title


class Change(NamedTuple):
    """A loss before and after a stage, in nats a token."""

    of: str
    """What it is a mean over: `text`, `skills`, or the one skill that a feature adapter learns."""
    before: float
    after: float

    @property
    def change(self) -> float:
        """After minus before."""
        return self.after - self.before

    @property
    def verdict(self) -> Verdict:
        """Whether the stage made it better."""
        return verdict(self.change)


class StageRow(NamedTuple):
    """One stage."""

    name: str
    title: str
    full_title: str
    lane: Lane
    num_tokens: int
    """Trained on; 0 for a stage that does not train."""
    wall_time_s: float
    started: str
    changes: tuple[Change, ...]
    id: str
    inputs: dict[str, str]
    """Role -> stage."""

    @property
    def aim(self) -> Change | None:
        """The change that the stage is for: of what it is trained on, skills or text."""
        if not self.changes:
            return None
        return self.changes[-1] if self.name.endswith(("_sft", "_rs")) else self.changes[0]


def stage_rows(inputs: Inputs) -> dict[str, StageRow]:
    """Every stage by name, in the order of the inputs."""
    stage_of = {artifact.manifest.id: artifact.manifest.stage for artifact in inputs.values()}
    return {name: _row(name, artifact, inputs, stage_of) for name, artifact in inputs.items()}


def _row(name: str, artifact: Artifact, inputs: Inputs, stage_of: Mapping[str, str]) -> StageRow:
    manifest = artifact.manifest
    return StageRow(
        name=name,
        title=title(name),
        full_title=full_title(name),
        lane=lane(name),
        num_tokens=num_tokens(manifest.metrics),
        wall_time_s=manifest.wall_time_s,
        started=manifest.started,
        changes=_changes(name, manifest.metrics, inputs),
        id=manifest.id,
        inputs={role: stage_of.get(identity, identity) for role, identity in manifest.inputs.items()},
    )


def num_tokens(metrics: Mapping[str, Any]) -> int:
    """Tokens that a stage trained on. (The `tokens` stage counts a corpus under the same name, by kind.)"""
    value = metrics.get("num_tokens", 0)
    return value if isinstance(value, int) else 0


def _changes(name: str, metrics: Mapping[str, Any], inputs: Inputs) -> tuple[Change, ...]:
    if "heldout_before" in metrics:
        return _between(metrics["heldout_before"], metrics["heldout_after"])
    if is_feature_adapter(name):
        after = metrics["nll_after"]
        return tuple(Change(skill, nll, after[skill]) for skill, nll in metrics["nll_before"].items())
    # Palettization's loss is measured by the stage that recovers it.
    if name == "device_compress":
        figures = inputs["device_recover"].manifest.metrics["heldout"]
        return _between(figures["dense"], figures["palettized"])
    if name == "device_recover":
        return _between(metrics["heldout"]["palettized"], metrics["heldout"]["recovered"])
    return ()


def _between(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    text = Change("text", before["nll"], after["nll"])
    if "nll_skills" in before and "nll_skills" in after:
        return (text, Change("skills", before["nll_skills"], after["nll_skills"]))
    return (text,)
