import json
from typing import Any

import numpy as np
import pytest

from codling.artifact.stage import Artifact
from codling.report.skill_scores import EXACT_MEANS, MODELS, TITLES, SkillReport, skill_reports, wilson_interval


def reference_interval(num_right: int, num_examples: int) -> list[float]:
    """The shares p at which (observed - p)^2 = z^2 p (1 - p) / n: a quadratic, solved numerically."""
    observed, z2_n = num_right / num_examples, 1.959964**2 / num_examples
    roots = np.roots([1 + z2_n, -(2 * observed + z2_n), observed**2])
    return sorted(float(root.real) for root in roots)


@pytest.mark.parametrize(("num_right", "num_examples"), [(0, 10), (1, 10), (93, 200), (200, 200), (1, 1)])
def test_wilson_interval_equals_the_inverted_score_test(num_right: int, num_examples: int) -> None:
    assert list(wilson_interval(num_right, num_examples)) == pytest.approx(
        reference_interval(num_right, num_examples), abs=1e-9
    )


@pytest.fixture
def skill(inputs: dict[str, Artifact]) -> SkillReport:
    measured = json.loads((inputs["measure"].path / "measurements.json").read_text())
    (report,) = skill_reports(measured, inputs)
    return report


def test_scores_count_and_name_the_best_baseline(skill: SkillReport) -> None:
    assert skill.best_baseline is not None
    assert (skill.best_baseline.name, skill.best_baseline.exact) == ("nearest", 0.5)
    assert [score.name for score in skill.scores] == [
        "Server", "Device", "Device without adapter", "nearest", "never call",
    ]  # fmt: skip
    device = skill.score_of("device")
    assert (device.num_right, device.num_examples, device.standing) == (2, 4, "even")
    assert skill.by_category["single"]["server"].num_right == 2


def test_models_on_the_way_stand_beside_the_bundles_where_they_were_measured(
    inputs: dict[str, Artifact], skill: SkillReport
) -> None:
    assert skill.models == ("server", "device", "device_without_adapter")
    measured: dict[str, Any] = json.loads((inputs["measure"].path / "measurements.json").read_text())
    # They have neither held-out losses nor stories.
    measured["server_sft"] = {"skills": measured["device"]["skills"]}
    measured["device_sft"] = {"skills": measured["server"]["skills"]}
    measured["device_aligned"] = {"skills": {}}
    (report,) = skill_reports(measured, inputs)
    assert report.models == ("server", "server_sft", "device", "device_without_adapter", "device_sft")
    assert [score.name for score in report.scores[:2]] == ["Server", "Server, fine-tuned only"]
    assert report.score_of("server_sft").exact == report.score_of("device").exact
    assert report.by_category["single"]["device_sft"] == report.by_category["single"]["server"]._replace(
        name=MODELS["device_sft"]
    )


def test_what_exact_means_is_told_of_skills_that_have_a_title() -> None:
    assert set(EXACT_MEANS) <= set(TITLES)
    assert {"arithmetic", "formats"} <= set(EXACT_MEANS)


@pytest.mark.parametrize(("exact", "standing"), [(1.0, "above"), (0.5, "even"), (0.0, "below")])
def test_standing_follows_from_the_numbers(inputs: dict[str, Artifact], exact: float, standing: str) -> None:
    measured: dict[str, Any] = json.loads((inputs["measure"].path / "measurements.json").read_text())
    measured["device"]["skills"]["tool_calls"]["exact"] = exact
    measured["device"]["skills"]["tool_calls"]["num_examples"] = 100
    (report,) = skill_reports(measured, inputs)
    assert report.score_of("device").standing == standing


def test_examples_are_the_first_right_and_wrong_ones_over_categories(skill: SkillReport) -> None:
    shown = [(example.messages[0]["text"], example.exact) for example in skill.examples]
    assert shown == [("Call mum at 5", True), ("Who is Nora?", True), ("Feed the cat", False), ("Post it", False)]


def test_calls_have_their_arguments_by_name_or_stay_as_written(skill: SkillReport) -> None:
    assert skill.examples[0].expected["tool_calls"][0]["arguments"] == {"what": "call mum"}
    assert skill.examples[3].answers["device"]["tool_calls"][0]["name"] == ""


def test_answers_that_do_not_fit_the_examples_raise(inputs: dict[str, Artifact]) -> None:
    measured = json.loads((inputs["measure"].path / "measurements.json").read_text())
    measured["device"]["skills"]["tool_calls"]["answers"].pop()
    with pytest.raises(ValueError, match="shorter"):
        skill_reports(measured, inputs)
