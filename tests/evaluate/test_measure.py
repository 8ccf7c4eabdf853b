"""The measurements hold every skill of every model, with the answers that were scored."""

import json

import pytest

from codling.evaluate.measure import MEASUREMENTS_FILE
from tests.conftest import TinyBuild


def test_every_model_is_measured_on_every_skill(tiny_build: TinyBuild) -> None:
    detail = json.loads((tiny_build.artifacts["measure"].path / MEASUREMENTS_FILE).read_text())
    assert set(detail) == {"server", "device", "device_without_adapter"}
    for figures in detail.values():
        assert set(figures["skills"]) == {"tool_calls", "intents", "story_answers"}
        for skill in figures["skills"].values():
            assert skill["num_examples"] == len(skill["answers"]) == 10
            assert skill["exact"] == pytest.approx(sum(answer["exact"] for answer in skill["answers"]) / 10)
            assert sum(part["num_examples"] for part in skill["by_category"].values()) == 10
