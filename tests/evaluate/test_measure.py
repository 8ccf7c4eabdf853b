"""The measurements hold every skill of every model, with the answers that were scored."""

import json

import pytest

from codling.evaluate.measure import DENSE_MODELS, MEASUREMENTS_FILE
from codling.recipes.tiny import tiny
from tests.conftest import TinyBuild

BUNDLES = {"server", "device", "device_without_adapter"}


def test_every_model_is_measured_on_every_skill(tiny_build: TinyBuild) -> None:
    detail = json.loads((tiny_build.artifacts["measure"].path / MEASUREMENTS_FILE).read_text())
    assert set(detail) == BUNDLES | set(DENSE_MODELS) | {"adapters"}
    for figures in (detail[name] for name in detail if name != "adapters"):
        assert set(figures["skills"]) == set(tiny().conversations.num_train_by_skill)
        for skill in figures["skills"].values():
            assert skill["num_examples"] == len(skill["answers"]) == 10
            assert skill["exact"] == pytest.approx(sum(answer["exact"] for answer in skill["answers"]) / 10)
            assert sum(part["num_examples"] for part in skill["by_category"].values()) == 10


def test_features_are_measured_on_their_own_skills(tiny_build: TinyBuild) -> None:
    measured = tiny_build.artifacts["measure"]
    detail = json.loads((measured.path / MEASUREMENTS_FILE).read_text())
    assert set(detail["adapters"]) == set(tiny().device_features)
    for name, figures in detail["adapters"].items():
        assert [figures["skill"]] == list(tiny().device_features[name].mixture.share_by_kind)
        for role, column in (("device", "recovered"), ("device_without_adapter", "bare")):
            assert figures[column] == detail[role]["skills"][figures["skill"]]["exact"]
        assert figures["won"] - figures["lost"] == round(10 * (figures["adapted"] - figures["recovered"]))
        assert measured.manifest.metrics["swap_ms"][name] > 0
        assert measured.manifest.metrics["adapters"][name] == {
            key: value for key, value in figures.items() if key != "examples"
        }


def test_dense_models_are_measured_on_the_skills_alone(tiny_build: TinyBuild) -> None:
    measured = tiny_build.artifacts["measure"]
    detail = json.loads((measured.path / MEASUREMENTS_FILE).read_text())
    for name in BUNDLES | set(DENSE_MODELS):
        figures = detail[name]
        metrics = measured.manifest.metrics[name]
        assert ("heldout" in metrics) == ("heldout" in figures) == ("stories" in figures) == (name in BUNDLES)
        assert metrics["skills_exact"] == {skill: found["exact"] for skill, found in figures["skills"].items()}
    for name in DENSE_MODELS:
        assert detail[name]["identity"] == tiny_build.artifacts[name].manifest.id
