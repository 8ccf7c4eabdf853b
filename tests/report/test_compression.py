import pytest

from codling.artifact.stage import Artifact
from codling.report.compression import compression, damage
from tests.report.conftest import make_older


def test_forms_are_told_from_dense_to_recovered(inputs: dict[str, Artifact]) -> None:
    forms = compression(inputs).forms
    assert [form.title for form in forms] == ["Dense", "Palettized", "Adapter's start", "Recovered"]
    assert forms[0].perplexity == pytest.approx(66.686, abs=1e-3)  # e ** 4.2
    assert [form.divergence for form in forms] == [0.0, 0.08, 0.05, 0.02]
    assert [form.change for form in forms] == pytest.approx([0, 0.2, 0.1, 0.05])
    assert [form.share_won_back for form in forms] == [None, None, pytest.approx(0.375), 0.75]


def test_damage_is_the_divergence(inputs: dict[str, Artifact]) -> None:
    assert damage(inputs["device_recover"].manifest.metrics) == (True, 0.08, 0.75)


def test_without_divergence_it_is_the_loss(inputs: dict[str, Artifact]) -> None:
    make_older(inputs)
    found = compression(inputs)
    assert (found.damage.is_divergence, found.damage.share_won_back) == (False, 0.75)
    assert found.damage.nats_per_token == pytest.approx(0.2)
    assert (found.divergence_figure, found.bit_map, found.trains_tables) == (None, None, False)
    assert [form.divergence for form in found.forms] == [None] * 4
    assert found.forms[2].share_won_back == pytest.approx(0.5)


def test_what_cost_nothing_has_no_share_to_win_back(inputs: dict[str, Artifact]) -> None:
    inputs["device_recover"].manifest.metrics["divergence"]["palettized"] = 0.0
    assert compression(inputs).forms[2].share_won_back is None


def test_averages_are_those_of_the_bundle(inputs: dict[str, Artifact]) -> None:
    found = compression(inputs)
    assert (found.bits_per_weight_projections, found.bits_per_weight_total) == (4.25, 5.31)
    assert found.trains_tables
    assert found.bit_map is not None
