import json
import re
import xml.etree.ElementTree as ET

import pytest
from markupsafe import Markup

from codling.artifact.stage import Artifact
from codling.report import figures
from codling.report.stage_table import stage_rows
from codling.report.svg import COLORS, inline


def texts(svg: Markup | None) -> str:
    assert svg is not None
    return " ".join(ET.fromstring(str(svg)).itertext())


def test_training_curve_spreads_the_tokens_over_the_steps(inputs: dict[str, Artifact]) -> None:
    curve = figures.training_curve(inputs, "server_core")
    assert curve is not None
    assert curve.tokens == [1000, 2000, 3000, 4000]
    assert curve.nll == [8.0, 4.0, pytest.approx(8 / 3), 2.0]


def test_start_figure_follows_both_through_both_stages(inputs: dict[str, Artifact]) -> None:
    shown = texts(figures.start_figure(inputs))
    assert shown.count("from scratch") == 2  # in the description and in the legend, once
    assert shown.count("pruned + distilled") == 1
    assert "8 k" in shown.replace("\u00a0", " ")


def test_pruning_figure_shows_changes_from_the_parent(inputs: dict[str, Artifact]) -> None:
    shown = texts(figures.pruning_figure(inputs["device_prune"].manifest.metrics))
    assert {"4.600", "5.123", "+0.523", "5.456", "+0.856", "6.789", "+2.189"} <= set(shown.split())


def test_compression_figure_is_the_mean_over_all_kinds(inputs: dict[str, Artifact]) -> None:
    shown = texts(figures.compression_figure(inputs["device_recover"].manifest.metrics["heldout"]))
    assert {"3.000", "3.200", "+0.200", "3.050", "+0.050"} <= set(shown.split())  # (2 * 4.2 + 0.6) / 3 = 3.0


def test_divergence_figure_starts_at_the_dense_model(inputs: dict[str, Artifact]) -> None:
    shown = texts(figures.divergence_figure(inputs["device_recover"].manifest.metrics["divergence"]))
    assert "dense 0, palettized 0.0800, adapter_start 0.0500, recovered 0.0200" in shown
    assert {"0", "0.0800", "0.0500", "0.0200"} <= set(shown.split())


@pytest.mark.parametrize("side", ["server", "device"])
def test_lane_figure_has_a_part_for_every_stage(inputs: dict[str, Artifact], side: str) -> None:
    shown = texts(figures.lane_figure(inputs, stage_rows(inputs), side))
    last = len(figures.LANE_STAGES[side])
    assert str(last) in shown.split()
    assert f"{4 * last} k" in shown.replace("\u00a0", " ") or f"{4 * last - 4} k" in shown.replace("\u00a0", " ")


def test_missing_records_give_no_figure(inputs: dict[str, Artifact]) -> None:
    (inputs["device_from_scratch"].path / "metrics.jsonl").unlink()
    assert figures.start_figure(inputs) is None
    (inputs["server_sft"].path / "metrics.jsonl").write_text(json.dumps({"step": 1, "loss": 1.0}))
    assert figures.lane_figure(inputs, stage_rows(inputs), "server") is None
    inputs["device_long_context"].manifest.metrics["nll_by_position_after"] = {}
    assert figures.positions_figure(inputs, "device", 256) is None


def test_figures_wear_the_page_colors_and_leave_pyplot_alone(inputs: dict[str, Artifact]) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    svg = figures.positions_figure(inputs, "device", 256)
    assert svg is not None
    assert "var(--device)" in svg
    assert not any(color in svg for color in COLORS.values())
    assert "DejaVu" not in svg
    assert dict(matplotlib.rcParams) == before


def test_inline_keeps_references_within_the_figure() -> None:
    svg = '<?xml version="1.0"?><!DOCTYPE svg><svg width="9pt" viewBox="0 0 9 9" xmlns="http://x"><g id="a"/>' \
        '<use xlink:href="#a"/><path clip-path="url(#a)"/></svg>'  # fmt: skip
    fitted = inline(svg, "one", "5 < 6")
    assert set(re.findall(r"#([\w-]+)", fitted)) == {"one-a"}
    assert 'id="one-a"' in fitted
    assert "5 &lt; 6" in fitted
    assert "http" not in fitted
