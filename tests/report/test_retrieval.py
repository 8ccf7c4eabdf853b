"""The heat map shows the numbers of the build, and its means are of the right lengths."""

import xml.etree.ElementTree as ET

import pytest

from codling.artifact.stage import Artifact
from codling.report.retrieval import found, retrieval_figure
from codling.report.svg import COLORS


def test_means_are_of_lengths_within_and_beyond_the_old_context(inputs: dict[str, Artifact]) -> None:
    one_fact, several = found(inputs, "server", 256)
    assert (one_fact.category, several.category) == ("one_fact", "several_facts")
    assert one_fact.within is not None
    assert one_fact.beyond is not None
    assert [part.share for part in one_fact.within] == pytest.approx([0.9, 0.95])
    assert [part.share for part in one_fact.beyond] == pytest.approx([0.2, 0.8])
    # 80 texts: 2 lengths x 2 depths x 20.
    assert one_fact.beyond[0].interval.low == pytest.approx(0.1270, abs=1e-4)
    assert (several.chance, several.chance_among_told) == (0.0625, 0.25)
    (everything, _) = found(inputs, "server", 1024)
    assert everything.beyond is None


def test_the_map_has_a_number_for_each_cell_and_names_its_axes(inputs: dict[str, Artifact]) -> None:
    svg = retrieval_figure(inputs, "device", 256)
    assert svg is not None
    shown = [text.strip() for text in ET.fromstring(str(svg)).itertext() if text.strip()]
    for number, times in (("90", 5), ("95", 4), ("20", 2), ("80", 2), ("10", 1), ("30", 1), ("70", 1)):
        assert shown.count(number) == times, number
    assert shown.count("length of the text, tokens") == 2
    assert {"before", "after", "depth of the fact", "0%", "100%", "128", "1024"} <= set(shown)
    assert "before 55.0%, after 87.5%" in shown[0]


def test_the_map_is_drawn_in_the_page_colors_which_stay_apart_in_the_dark(inputs: dict[str, Artifact]) -> None:
    svg = retrieval_figure(inputs, "device", 256)
    assert svg is not None
    assert {"var(--device)", "var(--card)", "var(--ink)"} <= {f"var(--{name})" for name in COLORS if name in svg}
    assert not any(color in svg for color in COLORS.values())


def test_a_build_that_did_not_measure_it_has_no_map(inputs: dict[str, Artifact]) -> None:
    del inputs["device_long_context"].manifest.metrics["retrieval_before"]
    assert retrieval_figure(inputs, "device", 256) is None
    assert found(inputs, "device", 256) == []
    inputs["server_long_context"].manifest.metrics["retrieval_after"]["choice"] = {}
    assert retrieval_figure(inputs, "server", 256) is None
