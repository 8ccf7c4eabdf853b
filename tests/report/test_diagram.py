from itertools import combinations

from codling.artifact.stage import Artifact
from codling.recipes.recipe import stages
from codling.recipes.tiny import tiny
from codling.report.diagram import BOX_HEIGHT, FIRST_ROW, LAST_ROW, ROWS, build_diagram
from codling.report.stage_table import stage_rows


def test_every_stage_of_the_recipe_has_its_place() -> None:
    placed = {*FIRST_ROW, LAST_ROW} | {name for pair in ROWS for name in pair if name is not None}
    *others, report = (stage.name for stage in stages(tiny()))
    assert placed == set(others)
    assert report == "report"


def test_the_report_reads_every_other_stage() -> None:
    *others, report = stages(tiny())
    assert report.inputs == {stage.name: stage.name for stage in others}


def test_boxes_do_not_overlap_and_lie_within(inputs: dict[str, Artifact]) -> None:
    diagram = build_diagram(stage_rows(inputs))
    assert len(diagram.boxes) == len(inputs)
    for box in diagram.boxes:
        assert box.x >= 0
        assert box.x + box.width <= diagram.width
        assert box.y + BOX_HEIGHT <= diagram.height
    for one, other in combinations(diagram.boxes, 2):
        apart_in_x = one.x + one.width <= other.x or other.x + other.width <= one.x
        assert apart_in_x or abs(one.y - other.y) >= BOX_HEIGHT


def test_teachers_have_arrows_of_their_own(inputs: dict[str, Artifact]) -> None:
    assert sum(arrow.is_teacher for arrow in build_diagram(stage_rows(inputs)).arrows) == 2
