import pytest

from codling.report.feature_adapters import feature_adapters
from codling.report.paired_scores import paired_interval
from tests.report.conftest import NASTY, adapter_figures


def test_an_adapter_is_compared_with_the_recovery_adapter_prompt_by_prompt() -> None:
    (adapter,) = feature_adapters(
        {"adapters": {"tool_calls": adapter_figures(0.61, 0.685, 20, 5)}}, {"tool_calls": 1.25}
    )
    assert adapter.title == "Calendar and reminder calls"
    assert (adapter.bare, adapter.recovered, adapter.adapted) == (0.6, 0.61, 0.685)
    assert adapter.paired is not None
    assert adapter.paired.difference == pytest.approx(0.075)
    assert adapter.paired.interval == paired_interval(20, 5, 200)
    assert adapter.paired.verdict == "better"
    assert adapter.swap_ms == 1.25


def test_the_example_is_the_first_that_differs_or_the_first() -> None:
    figures = adapter_figures(0.5, 0.5, 3, 3)
    (adapter,) = feature_adapters({"adapters": {"intents": figures}}, {"intents": 1.25})
    assert adapter.example is not None
    assert adapter.example.prompt == "Prompt other"
    assert list(adapter.example.answers.values()) == ["No.", NASTY]
    (adapter,) = feature_adapters(
        {"adapters": {"intents": {**figures, "examples": figures["examples"][:1]}}}, {"intents": 1.25}
    )
    assert adapter.example is not None
    assert adapter.example.prompt == "Prompt same"
    (adapter,) = feature_adapters({"adapters": {"intents": {**figures, "examples": []}}}, {"intents": 1.25})
    assert adapter.example is None


def test_other_units_have_no_interval_of_shares() -> None:
    figures = {**adapter_figures(0.5, 0.6, 20, 5), "unit": "partial"}
    (adapter,) = feature_adapters({"adapters": {"summaries": figures}}, {"summaries": 1.25})
    assert (adapter.title, adapter.paired) == ("Summaries", None)
