import json

import pytest

from codling.artifact.stage import Artifact
from codling.report.skill_scores import skill_reports
from codling.report.summary import headline, size_rows, tiles, total_tokens, total_wall_time_s


def test_headline_and_tiles_show_the_build(inputs: dict[str, Artifact]) -> None:
    measured = json.loads((inputs["measure"].path / "measurements.json").read_text())
    skills = skill_reports(measured, inputs)
    sentence = headline(inputs, skills).replace("\u00a0", " ")
    assert "2.00 M parameters" in sentence
    assert "50.0% of held-out calendar and reminder calls" in sentence
    shown = {tile.label: (tile.value + " " + tile.detail).replace("\u00a0", " ") for tile in tiles(inputs, skills)}
    assert "2.00 M / 900 k" in shown["Parameters"]
    assert "best trivial answer 50.0%" in shown["Calendar and reminder calls"]
    assert "5.31 with the embedding" in shown["Device bits a weight"]


def test_without_skills_the_headline_claims_none(inputs: dict[str, Artifact]) -> None:
    assert "exactly right" not in headline(inputs, [])


def test_totals(inputs: dict[str, Artifact]) -> None:
    assert total_wall_time_s(inputs) == 230.0
    assert total_tokens(inputs) == 16 * 4000


def test_sizes_count_the_adapter_apart_and_together(inputs: dict[str, Artifact]) -> None:
    server, dense, palettized, adapter, both = size_rows(inputs)
    assert (server.size_bytes, dense.size_bytes) == (8_000_000, 3_600_000)
    assert (palettized.bits_per_weight_projections, palettized.bits_per_weight_total) == (4.25, 5.31)
    assert adapter.size_bytes + palettized.size_bytes == both.size_bytes
    assert both.bits_per_weight_total == pytest.approx(8 * 697_375 / 900_000)
    assert both.bits_per_weight_projections == pytest.approx(4.25 + 800_000 / 650_000)
