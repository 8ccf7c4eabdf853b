import pytest

from codling.artifact.stage import Artifact
from codling.report.compression import compression


def test_forms_are_told_from_dense_to_recovered(inputs: dict[str, Artifact]) -> None:
    forms = compression(inputs).forms
    assert [form.title for form in forms] == ["Dense", "Palettized", "Adapter's start", "Recovered"]
    assert forms[0].perplexity == pytest.approx(66.686, abs=1e-3)  # e ** 4.2
    assert [form.divergence for form in forms] == [0.0, 0.08, 0.05, 0.02]
    assert [form.change for form in forms] == pytest.approx([0, 0.2, 0.1, 0.05])
    assert [form.share_won_back for form in forms] == [None, None, pytest.approx(0.375), pytest.approx(0.75)]


def test_what_cost_nothing_has_no_share_to_win_back(inputs: dict[str, Artifact]) -> None:
    inputs["device_recover"].manifest.metrics["divergence"]["palettized"] = 0.0
    assert [form.share_won_back for form in compression(inputs).forms] == [None] * 4


def test_averages_are_those_of_the_bundle(inputs: dict[str, Artifact]) -> None:
    found = compression(inputs)
    assert (found.bits_per_weight_projections, found.bits_per_weight_total) == (4.25, 5.31)
    assert found.trains_tables
