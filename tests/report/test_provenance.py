from dataclasses import replace

from codling.artifact.stage import Artifact
from codling.report.provenance import provenance


def test_what_all_stages_share_is_said_once_and_differences_in_full(inputs: dict[str, Artifact]) -> None:
    facts = {fact.name: fact.values for fact in provenance(inputs)}
    assert facts["Processor"] == ("Test CPU, 2 cores",)
    assert facts["First stage started"] == ("2026-01-01T00:00:00+00:00",)
    path, manifest = inputs["measure"]
    inputs["measure"] = Artifact(path, replace(manifest, commit="def456"))
    assert {fact.name: fact.values for fact in provenance(inputs)}["Commit"] == ("abc123", "def456")
