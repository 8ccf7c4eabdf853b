"""The family tree of a side's models: a row for each generation of a round, lines for weights and for teaching.

Every set of lines of one kind that join the same models is a net: each source goes down to a track, each target hangs
from one, and where sources and targets lie rows apart a lane on the right joins the tracks. So the picture has a line
for each model where there would be one for each pair of them.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from codling.committee.committee import Candidate, Committee, Method
from codling.report.elections import guests_of, label

BOX_WIDTH, BOX_HEIGHT, GAP, MARGIN = 198, 62, 16, 4
NAMES_WIDTH = 70
"""Left of the boxes, for the names of the rounds."""
TRACK_STEP, TRACK_ROOM = 9, 16
"""Between tracks, and above the first and below the last."""
LANE_STEP = 9
WEIGHTS_PORT, TEACHERS_PORT = 0.12, 0.88
"""Where lines reach a box, as shares of its width."""


class TreeBox(NamedTuple):
    """A model's place."""

    x: float
    y: float
    candidate: Candidate
    label: str
    is_member: bool
    """Of the last committee."""
    is_best: bool


class TreeLine(NamedTuple):
    """A part of a net."""

    path: str
    """SVG path data."""
    is_teacher: bool
    has_tip: bool
    """It ends at the model that was made."""


class RowName(NamedTuple):
    """What stands left of the first row of a round."""

    y: float
    text: str


class FamilyTree(NamedTuple):
    """All that is drawn."""

    side: str
    width: float
    height: float
    names: tuple[RowName, ...]
    boxes: tuple[TreeBox, ...]
    lines: tuple[TreeLine, ...]
    box_width: float = BOX_WIDTH
    box_height: float = BOX_HEIGHT


class Net(NamedTuple):
    """Models that made others: from their weights, or by their answers."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    is_teacher: bool


def family_tree(committee: Committee) -> FamilyTree:
    """Lay out all candidates of the last committee; of the other side's only those that were ever members of it."""
    rows = _rows(committee)
    row_of = {one.name: number for number, row in enumerate(rows) for one in row}
    nets = _nets([one for row in rows for one in row], committee.side)
    tracks = _tracks(nets, row_of, len(rows))
    tops = [float(MARGIN)]
    for used in tracks:
        tops.append(tops[-1] + BOX_HEIGHT + 2 * TRACK_ROOM + max(0, len(used) - 1) * TRACK_STEP)
    boxes = {
        one.name: TreeBox(
            x=float(NAMES_WIDTH + place * (BOX_WIDTH + GAP)),
            y=tops[number],
            candidate=one,
            label=label(one, committee.side),
            is_member=one in committee.members,
            is_best=one == committee.best,
        )
        for number, row in enumerate(rows)
        for place, one in enumerate(row)
    }
    right = max(box.x for box in boxes.values()) + BOX_WIDTH
    starts = {one.round: tops[number] for number, row in reversed(list(enumerate(rows))) for one in row[:1]}
    return FamilyTree(
        side=committee.side,
        width=right + LANE_STEP * (len(nets) + 1) + MARGIN,
        height=tops[len(rows) - 1] + BOX_HEIGHT + MARGIN,
        names=tuple(RowName(y, f"Round {number}" if number else "Before") for number, y in sorted(starts.items())),
        boxes=tuple(boxes.values()),
        lines=tuple(_lines(nets, boxes, row_of, tracks, tops, right)),
    )


def _rows(committee: Committee) -> list[list[Candidate]]:
    """By round, and within one a model below that of the same round whose weights it started from."""
    own = {one.name: one for one in committee.candidates if one.side == committee.side}
    guests = sorted(guests_of(committee), key=lambda one: (one.round, list(Method).index(one.method)))

    def depth(one: Candidate) -> int:
        of_round = [own[name] for name in one.parents if name in own and own[name].round == one.round]
        return max((1 + depth(parent) for parent in of_round), default=0)

    by_row: dict[tuple[int, int], list[Candidate]] = {}
    for one in own.values():
        by_row.setdefault((one.round, depth(one)), []).append(one)
    rows = [sorted(row, key=lambda one: list(Method).index(one.method)) for _, row in sorted(by_row.items())]
    return [[*rows[0], *guests], *rows[1:]]


def _nets(shown: Sequence[Candidate], side: str) -> list[Net]:
    """Targets of one round with the same sources share a net; a guest's own family is in its own tree."""
    names = {one.name for one in shown}
    targets: dict[tuple[bool, int, tuple[str, ...]], list[str]] = {}
    for one in shown:
        for is_teacher, found in ((False, one.parents), (True, one.teachers)):
            sources = tuple(sorted(name for name in found if name in names))
            if sources and one.side == side:
                targets.setdefault((is_teacher, one.round, sources), []).append(one.name)
    # Weights before teachers, and early rounds before late ones: that is the order of tracks and ports.
    ordered = sorted(targets.items(), key=lambda item: item[0])
    return [Net(sources, tuple(made), is_teacher) for (is_teacher, _, sources), made in ordered]


def _tracks(nets: Sequence[Net], row_of: dict[str, int], num_rows: int) -> list[list[int]]:
    """The nets that have a track below each row but the last."""
    used: list[list[int]] = [[] for _ in range(num_rows - 1)]
    for number, net in enumerate(nets):
        below = {row_of[name] for name in net.sources} | {row_of[name] - 1 for name in net.targets}
        for row in sorted(below):
            used[row].append(number)
    return used


def _lines(
    nets: Sequence[Net],
    boxes: dict[str, TreeBox],
    row_of: dict[str, int],
    tracks: Sequence[Sequence[int]],
    tops: Sequence[float],
    right: float,
) -> Iterator[TreeLine]:
    """Each net: from its sources down to tracks, from tracks down to its targets, the tracks, and the lane."""
    for number, net in enumerate(nets):
        heights = {
            row: tops[row] + BOX_HEIGHT + TRACK_ROOM + TRACK_STEP * used.index(number)
            for row, used in enumerate(tracks)
            if number in used
        }
        ends: dict[int, list[float]] = {row: [] for row in heights}
        for name in net.sources:
            row, x = row_of[name], _port_below(boxes[name], nets, number)
            ends[row].append(x)
            yield TreeLine(f"M{x:g} {tops[row] + BOX_HEIGHT:g}V{heights[row]:g}", net.is_teacher, False)
        for name in net.targets:
            row, x = row_of[name] - 1, _port_above(boxes[name], net)
            ends[row].append(x)
            yield TreeLine(f"M{x:g} {heights[row]:g}V{tops[row + 1]:g}", net.is_teacher, True)
        if len(heights) > 1:
            lane = right + LANE_STEP * (number + 1)
            ends = {row: [*xs, lane] for row, xs in ends.items()}
            yield TreeLine(f"M{lane:g} {min(heights.values()):g}V{max(heights.values()):g}", net.is_teacher, False)
        for row, xs in ends.items():
            if min(xs) < max(xs):
                yield TreeLine(f"M{min(xs):g} {heights[row]:g}H{max(xs):g}", net.is_teacher, False)


def _port_below(box: TreeBox, nets: Sequence[Net], number: int) -> float:
    """Where a net leaves a model: each at a place of its own, weights on the left, teaching in the middle."""
    kind = nets[number].is_teacher
    leaving = [other for other, net in enumerate(nets) if box.candidate.name in net.sources and net.is_teacher == kind]
    share = leaving.index(number) / len(leaving)
    return box.x + BOX_WIDTH * (0.45 + 0.35 * share if kind else WEIGHTS_PORT + 0.25 * share)


def _port_above(box: TreeBox, net: Net) -> float:
    """Where a net reaches a model: under the place where the first weights leave, or right of all where any leaves."""
    return box.x + BOX_WIDTH * (TEACHERS_PORT if net.is_teacher else WEIGHTS_PORT)
