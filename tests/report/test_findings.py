import json

import pytest

from codling.artifact.stage import Artifact
from codling.report.feature_adapters import feature_adapters
from codling.report.findings import Finding, findings, mean_beyond
from codling.report.paired_scores import Comparison, paired_score
from codling.report.skill_scores import skill_reports
from tests.report.conftest import found_facts


def found(inputs: dict[str, Artifact]) -> dict[str, Finding]:
    measured = json.loads((inputs["measure"].path / "measurements.json").read_text())
    return {finding.claim: finding for finding in findings(inputs, skill_reports(measured, inputs))}


def test_gains_are_told_as_gains(inputs: dict[str, Artifact]) -> None:
    claims = found(inputs)
    assert claims["Pruning keeps the right units"].verdict == "better"
    pruning = claims["Pruning keeps the right units"].evidence
    assert "to 5.456 (+0.856); with random units kept, to 6.789" in pruning
    assert "4.00\u00a0k tokens, it ends at 5.123 (+0.523)" in pruning
    start = claims["After distillation, pruned + distilled beats from scratch"].evidence
    assert "4.321 against 4.999 (−0.678); first choice right 43.2% against 50.0%" in start
    later = claims["After continued pre-training, pruned + distilled loses to from scratch"]
    assert later.verdict == "worse"
    assert "8.00\u00a0k tokens" in later.evidence
    assert "5.500 → 3.400" in claims["Context-lengthening helps at long positions (device)"].evidence
    far = claims["Lengthening lets it find facts far back (server)"]
    assert far.verdict == "better"
    assert far.evidence == "In texts beyond 256 tokens: 20.0% → 80.0%; within: 90.0% → 95.0% (by chance 6.2%)."
    recovery = claims["The adapter wins back 75.0%"].evidence
    assert "moves the device model 0.0800 nats a token from the dense one, of which" in recovery
    assert claims["Device is 1/11.5 of the server's size"].verdict == "better"


def test_losses_are_told_as_losses(inputs: dict[str, Artifact]) -> None:
    metrics = {name: artifact.manifest.metrics for name, artifact in inputs.items()}
    metrics["device_prune"]["heldout_random_units"]["nll"] = 5.0
    metrics["device_from_scratch"]["heldout_after"]["nll"] = 4.0
    del metrics["device_from_scratch"]["heldout_after"]["accuracy"]
    metrics["device_sft"]["heldout_after"]["nll_skills"] = 3.5
    metrics["device_recover"]["share_won_back"] = -0.5
    metrics["server_long_context"]["nll_by_position_after"]["384-512"] = 9.0
    metrics["server_long_context"]["retrieval_after"] = found_facts(0.9, 0.19)
    metrics["device_long_context"]["retrieval_before"] = found_facts(0.9, 0.81)
    metrics["device_long_context"]["retrieval_after"] = found_facts(0.9, 0.3)
    claims = found(inputs)
    for claim in (
        "Pruning keeps worse units than chance",
        "After distillation, pruned + distilled loses to from scratch",
        "Supervised fine-tuning (device) hurts the skills",
        "Lengthening loses facts far back (device)",
        "The adapter wins nothing back",
        "Context-lengthening hurts at long positions (server)",
    ):
        assert claims[claim].verdict == "worse"


def test_what_is_not_told_apart_is_said_to_be_so(inputs: dict[str, Artifact]) -> None:
    claims = found(inputs)
    level = claims["Calendar and reminder calls: the device model is level with “nearest”"]
    assert level.verdict == "same"
    inputs["device_recover"].manifest.metrics["divergence"]["palettized"] = 0.001
    assert found(inputs)["Palettization costs next to nothing"].verdict == "same"
    assert "0.00100 nats" in found(inputs)["Palettization costs next to nothing"].evidence


def test_each_feature_adapter_is_judged_by_the_interval(inputs: dict[str, Artifact]) -> None:
    measured = json.loads((inputs["measure"].path / "measurements.json").read_text())
    adapters = feature_adapters(measured, inputs["measure"].manifest.metrics["swap_ms"])
    told = [one for one in findings(inputs, [], adapters=adapters) if one.anchor == "adapters"]
    assert [(one.claim, one.verdict) for one in told] == [
        ("Calendar and reminder calls: its adapter beats the recovery adapter", "better"),
        ("Intents of real requests: its adapter is level with the recovery adapter", "same"),
        ("Short answers: its adapter loses to the recovery adapter", "worse"),
    ]
    assert "61.0% → 68.5% (+7.5 points" in told[0].evidence
    assert [one for one in findings(inputs, []) if one.anchor == "adapters"] == []


@pytest.mark.parametrize(("start", "mean"), [(0, 2.0), (128, 2.5), (256, 3.0), (384, None)])
def test_mean_beyond_takes_whole_stretches(start: int, mean: float | None) -> None:
    assert mean_beyond({"0-128": 1.0, "128-256": 2.0, "256-384": 3.0}, start) == mean


def comparison(side: str, title: str, won: int, lost: int) -> Comparison:
    pairs = [(False, True)] * won + [(True, False)] * lost + [(True, True)] * 50
    return Comparison(side, title, paired_score("all", pairs), ())


def alignment_findings(inputs: dict[str, Artifact], *compared: Comparison) -> list[Finding]:
    return [finding for finding in findings(inputs, [], compared) if finding.anchor == "aligned"]


@pytest.mark.parametrize(
    ("won", "lost", "verdict", "claim"),
    [
        (40, 10, "better", "The aligned server beats its fine-tuned self"),
        (10, 40, "worse", "The aligned server loses to its fine-tuned self"),
        (25, 25, "same", "The aligned server is level with its fine-tuned self"),
    ],
)
def test_alignment_is_judged_by_the_interval(
    inputs: dict[str, Artifact], won: int, lost: int, verdict: str, claim: str
) -> None:
    (finding,) = alignment_findings(inputs, comparison("server", "Server, aligned", won, lost))
    assert (finding.verdict, finding.claim) == (verdict, claim)
    assert f"Exact on 100 held-out requests: {50 + lost:.1f}% → {50 + won:.1f}%" in finding.evidence
    assert "95% interval" in finding.evidence


def test_the_device_is_judged_before_compression_and_told_as_shipped(inputs: dict[str, Artifact]) -> None:
    dense, shipped = comparison("device", "dense", 40, 10), comparison("device", "shipped", 20, 30)
    (finding,) = alignment_findings(inputs, dense, shipped)
    assert finding.verdict == "better"
    assert finding.evidence.endswith("; as shipped 70.0% (−10.0).")


def test_without_rounds_alignment_is_no_finding(inputs: dict[str, Artifact]) -> None:
    assert alignment_findings(inputs) == []
