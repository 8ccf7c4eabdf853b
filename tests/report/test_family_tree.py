"""The drawn lines are followed from box to box: they say what the committee says, and nothing else."""

import re
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pytest

from codling.artifact.stage import Artifact
from codling.committee.committee import Committee, Method
from codling.report.elections import committees
from codling.report.family_tree import BOX_HEIGHT, BOX_WIDTH, FamilyTree, TreeBox, family_tree
from tests.report.sample_rounds import add_rounds


class Segment(NamedTuple):
    """A straight line between two points, the first one left or above."""

    start: tuple[float, float]
    end: tuple[float, float]
    is_teacher: bool
    has_tip: bool

    def holds(self, point: tuple[float, float]) -> bool:
        return all(a - 1e-6 <= value <= b + 1e-6 for a, value, b in zip(self.start, point, self.end, strict=True))


def segments_of(tree: FamilyTree) -> list[Segment]:
    found = []
    for line in tree.lines:
        path = re.fullmatch(r"M(\S+) (\S+?)([HV])(\S+)", line.path)
        assert path is not None
        x, y, end = float(path[1]), float(path[2]), float(path[4])
        target = (end, y) if path[3] == "H" else (x, end)
        assert target >= (x, y)
        found.append(Segment((x, y), target, line.is_teacher, line.has_tip))
    return found


def touch(one: Segment, other: Segment) -> bool:
    """Where one ends on the other; lines that cross do not meet."""
    if one.is_teacher != other.is_teacher:
        return False
    return any(one.holds(point) for point in (other.start, other.end)) or any(
        other.holds(point) for point in (one.start, one.end)
    )


def drawn_relations(tree: FamilyTree) -> set[tuple[str, str, bool]]:
    """(source, target, is_teacher) of every tip, by following all lines that it hangs from."""
    segments = segments_of(tree)
    names = {(box.x, box.y): box.candidate.name for box in tree.boxes}

    def box_at(point: tuple[float, float], below: float) -> str | None:
        for (x, y), name in names.items():
            if x < point[0] < x + BOX_WIDTH and abs(y + below - point[1]) < 1e-6:
                return name
        return None

    relations = set()
    for tip in (segment for segment in segments if segment.has_tip):
        target = box_at(tip.end, 0)
        assert target is not None
        met, todo = {tip}, [tip]
        while todo:
            one = todo.pop()
            new = [other for other in segments if other not in met and touch(one, other)]
            met |= set(new)
            todo += new
        sources = {box_at(one.start, BOX_HEIGHT) for one in met if one.start[0] == one.end[0]} - {None}
        relations |= {(str(source), target, tip.is_teacher) for source in sources}
    return relations


def told_relations(committee: Committee) -> set[tuple[str, str, bool]]:
    shown = {one.name for one in committee.candidates if one.side == committee.side or one.elected_in}
    return {
        (source, one.name, is_teacher)
        for one in committee.candidates
        if one.side == committee.side
        for is_teacher, sources in ((False, one.parents), (True, one.teachers))
        for source in sources
        if source in shown
    }


EVERY_METHOD = (Method.RS, Method.DPO, Method.IPO, Method.MDLOO)


@pytest.mark.parametrize(
    ("num_server", "num_device", "methods"),
    [(1, 1, EVERY_METHOD), (3, 2, EVERY_METHOD), (4, 0, (Method.RS,)), (2, 3, (Method.RS, Method.MDLOO))],
)
def test_lines_lead_from_parents_and_teachers_and_from_nobody_else(
    inputs: dict[str, Artifact], tmp_path: Path, num_server: int, num_device: int, methods: tuple[Method, ...]
) -> None:
    add_rounds(inputs, tmp_path, num_server, num_device, methods)
    for side, count in (("server", num_server), ("device", num_device)):
        if count:
            committee = committees(inputs, side)[-1]
            assert told_relations(committee)
            assert drawn_relations(family_tree(committee)) == told_relations(committee)


@pytest.fixture
def tree(inputs: dict[str, Artifact], tmp_path: Path) -> FamilyTree:
    add_rounds(inputs, tmp_path, 2, 2, EVERY_METHOD)
    return family_tree(committees(inputs, "device")[-1])


def test_boxes_do_not_overlap_and_all_lies_within(tree: FamilyTree) -> None:
    for one, other in combinations(tree.boxes, 2):
        assert abs(one.x - other.x) >= BOX_WIDTH or abs(one.y - other.y) >= BOX_HEIGHT
    points = [point for segment in segments_of(tree) for point in (segment.start, segment.end)]
    points += [(box.x + BOX_WIDTH, box.y + BOX_HEIGHT) for box in tree.boxes]
    assert all(0 <= x <= tree.width and 0 <= y <= tree.height for x, y in points)


def test_no_line_runs_through_a_box(tree: FamilyTree) -> None:
    for segment in segments_of(tree):
        for box in tree.boxes:
            apart_in_x = segment.end[0] <= box.x or segment.start[0] >= box.x + BOX_WIDTH
            apart_in_y = segment.end[1] <= box.y or segment.start[1] >= box.y + BOX_HEIGHT
            assert apart_in_x or apart_in_y


def test_later_generations_stand_lower(tree: FamilyTree) -> None:
    boxes = {box.candidate.name: box for box in tree.boxes}
    for source, target, _ in drawn_relations(tree):
        assert boxes[source].y < boxes[target].y
    assert [name.text for name in tree.names] == ["Before", "Round 1", "Round 2"]
    assert [name.y for name in tree.names] == [
        boxes[name].y for name in ("device_sft", "device_round1_rs", "device_round2_rs")
    ]


def test_the_last_committee_and_its_best_are_marked(inputs: dict[str, Artifact], tree: FamilyTree) -> None:
    committee = committees(inputs, "device")[-1]

    def names(boxes: list[TreeBox]) -> set[str]:
        return {box.candidate.name for box in boxes}

    assert names([box for box in tree.boxes if box.is_best]) == {committee.best.name}
    assert names([box for box in tree.boxes if box.is_member]) == {member.name for member in committee.members}


def test_of_the_other_side_only_members_are_shown(inputs: dict[str, Artifact], tree: FamilyTree) -> None:
    committee = committees(inputs, "device")[-1]
    shown = {box.candidate.name for box in tree.boxes if box.candidate.side == "server"}
    assert shown == {one.name for one in committee.candidates if one.side == "server" and one.elected_in}
    assert "server_round1_dpo" in {one.name for one in committee.candidates} - shown
