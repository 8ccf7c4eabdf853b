import re
from itertools import combinations
from pathlib import Path

import pytest

from codling.artifact.stage import Artifact
from codling.recipes.recipe import stages
from codling.recipes.tiny import tiny
from codling.report.diagram import (
    BOX_HEIGHT,
    FIRST_ROW,
    LAST_ROW,
    NOT_DRAWN,
    OPTIONAL,
    ROW_HEIGHT,
    ROWS,
    Diagram,
    build_diagram,
)
from codling.report.rounds import aligned_side
from codling.report.stage_table import stage_rows
from codling.report.titles import is_feature_adapter
from tests.report.conftest import ADAPTED, drop_features
from tests.report.sample_rounds import add_rounds


def test_every_stage_of_the_recipe_has_its_place() -> None:
    placed = {*FIRST_ROW, LAST_ROW} | {name for pair in ROWS for name in pair if name is not None}
    *others, report = (stage.name for stage in stages(tiny()))
    alone = {name for name in others if aligned_side(name) is None and not is_feature_adapter(name)}
    assert alone - set(NOT_DRAWN) <= placed
    assert placed - alone <= OPTIONAL
    assert report == "report"


def test_the_report_reads_every_other_stage() -> None:
    *others, report = stages(tiny())
    assert report.inputs == {stage.name: stage.name for stage in others}


def check_boxes(diagram: Diagram) -> None:
    for box in diagram.boxes:
        assert box.x >= 0
        assert box.x + box.width <= diagram.width
        assert box.y + BOX_HEIGHT <= diagram.height
    for one, other in combinations(diagram.boxes, 2):
        apart_in_x = one.x + one.width <= other.x or other.x + other.width <= one.x
        assert apart_in_x or abs(one.y - other.y) >= BOX_HEIGHT


def test_boxes_do_not_overlap_and_lie_within(inputs: dict[str, Artifact]) -> None:
    diagram = build_diagram(stage_rows(inputs))
    assert len(diagram.boxes) == len(inputs) - len(ADAPTED) + 1
    check_boxes(diagram)


def downward(diagram: Diagram) -> dict[tuple[str, str], float]:
    """The x of each straight arrow, by the boxes that it joins: it ends at the first box in its way."""
    found = {}
    for arrow in diagram.arrows:
        if line := re.fullmatch(r"M([\d.]+) ([\d.]+)V([\d.]+)", arrow.path):
            x, top, bottom = (float(value) for value in line.groups())
            met = [box for box in diagram.boxes if box.x <= x <= box.x + box.width]
            (source,) = (box.row.name for box in met if box.y + BOX_HEIGHT == top)
            target = min((box for box in met if box.y >= top), key=lambda box: box.y)
            assert target.y == bottom
            found[source, target.row.name] = x
    return found


def test_all_feature_adapters_are_one_box_which_the_recovered_model_passes(inputs: dict[str, Artifact]) -> None:
    diagram = build_diagram(stage_rows(inputs))
    boxes = {box.row.name: box for box in diagram.boxes}
    assert boxes["feature_adapters"].row.title == "3 feature adapters"
    assert not boxes["feature_adapters"].is_control
    assert len(diagram.arrows) == len(set(diagram.arrows))
    arrows = downward(diagram)
    names = ("device_compress", "device_recover", "feature_adapters", "device")
    assert {pair for pair in arrows if set(pair) <= set(names)} == {
        ("device_compress", "device_recover"),
        ("device_recover", "feature_adapters"),
        ("device_recover", "device"),
        ("feature_adapters", "device"),
    }
    assert arrows["device_recover", "device"] < boxes["feature_adapters"].x


def test_a_build_without_feature_adapters_has_no_box_and_no_gap_for_them(inputs: dict[str, Artifact]) -> None:
    height = build_diagram(stage_rows(inputs)).height
    drop_features(inputs)
    diagram = build_diagram(stage_rows(inputs))
    check_boxes(diagram)
    assert len(diagram.boxes) == len(inputs)
    assert diagram.height == height - ROW_HEIGHT
    assert ("device_recover", "device") in downward(diagram)


def test_teachers_have_arrows_of_their_own(inputs: dict[str, Artifact]) -> None:
    assert sum(arrow.is_teacher for arrow in build_diagram(stage_rows(inputs)).arrows) == 2


@pytest.mark.parametrize(("num_server", "num_device"), [(0, 0), (2, 0), (0, 1), (2, 1)])
def test_all_rounds_of_a_side_are_one_box(
    inputs: dict[str, Artifact], tmp_path: Path, num_server: int, num_device: int
) -> None:
    before = build_diagram(stage_rows(inputs))
    add_rounds(inputs, tmp_path, num_server, num_device)
    diagram = build_diagram(stage_rows(inputs))
    check_boxes(diagram)
    boxes = {box.row.name: box for box in diagram.boxes}
    aligned = [name for name, count in (("server_rounds", num_server), ("device_rounds", num_device)) if count]
    assert set(boxes) - {box.row.name for box in before.boxes} == set(aligned)
    for name in aligned:
        side = name.removesuffix("_rounds")
        after = "server" if side == "server" else "device_compress"
        assert boxes[f"{side}_sft"].y < boxes[name].y < boxes[after].y
    # A box takes its arrow's place by two; what is measured beside the bundles adds none.
    num_teachers = 1 if num_device else 0
    assert len(diagram.arrows) == len(before.arrows) + len(aligned) + num_teachers
    assert sum(arrow.is_teacher for arrow in diagram.arrows) == 2 + num_teachers
