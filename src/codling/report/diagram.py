"""The picture of how the pair was grown: one lane for each model, one row for each step, arrows for what made what."""

from typing import NamedTuple

from codling.report.adapters_box import ADAPTERS_BOX, with_adapters_as_one
from codling.report.rounds import SIDES
from codling.report.rounds_box import rounds_name, with_rounds_as_one
from codling.report.stage_table import StageRow
from codling.report.titles import Lane

ROUNDS_ROW = tuple(rounds_name(side) for side in SIDES)
ROWS: tuple[tuple[str | None, ...], ...] = (
    ("server_core", "device_parent_core"),
    (None, "device_prune"),
    (None, "device_distill"),
    (None, "device_from_scratch"),
    (None, "device_from_scratch_continued"),
    ("server_continued", "device_continued"),
    ("server_long_context", "device_long_context"),
    ("server_sft", "device_sft"),
    ROUNDS_ROW,
    (None, "device_compress"),
    (None, "device_recover"),
    (None, ADAPTERS_BOX),
    ("server", "device"),
)
"""Server and device, side by side where they do the same."""
OPTIONAL = {*ROUNDS_ROW, ADAPTERS_BOX}
"""Not every recipe has all of these; all the other stages it must have."""
FIRST_ROW, LAST_ROW = ("conversations", "tokenizer", "tokens"), "measure"
NOT_DRAWN = ("task_prompts",)
"""Data of the rounds, whose own stages are not drawn one by one either."""
CONTROLS = ("device_from_scratch", "device_from_scratch_continued")

MARGIN, GAP, BOX_WIDTH, BOX_HEIGHT, ROW_HEIGHT = 8, 40, 216, 50, 74
ASIDE, INDENT = (*CONTROLS, ADAPTERS_BOX), 28
"""What stands aside by so much, so that the arrow of what goes on without it passes it."""
SIDE_ROOM = 28
"""To the right of the device lane, for the arrow from its teacher."""
LANE_ROOM = 26
"""Above the lanes, for their names."""
WIDTH = 2 * MARGIN + 2 * BOX_WIDTH + GAP + SIDE_ROOM


class Box(NamedTuple):
    """A stage's place."""

    x: float
    y: float
    width: float
    row: StageRow
    is_control: bool


class Arrow(NamedTuple):
    """What a stage was made from."""

    path: str
    """SVG path data."""
    is_teacher: bool


class LaneName(NamedTuple):
    """What stands above a lane."""

    x: float
    y: float
    side: Lane


class Diagram(NamedTuple):
    """All that is drawn."""

    width: int
    height: int
    lanes: tuple[LaneName, ...]
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def build_diagram(rows: dict[str, StageRow]) -> Diagram:
    """Lay out every stage that the recipe has, all rounds of a side as one, and all feature adapters.

    The page itself, the last stage, is not in its own picture.
    """
    boxes = {box.row.name: box for box in _boxes(with_adapters_as_one(with_rounds_as_one(rows)))}
    arrows = [
        _arrow(boxes[source], box, role)
        for box in boxes.values()
        for role, source in box.row.inputs.items()
        if source in boxes and _is_drawn(source, box)
    ]
    sides: tuple[Lane, ...] = ("server", "device")
    lanes = tuple(
        LaneName(MARGIN + column * (BOX_WIDTH + GAP), _row_y(1) - 8, side) for column, side in enumerate(sides)
    )
    height = round(boxes[LAST_ROW].y) + BOX_HEIGHT + MARGIN
    return Diagram(WIDTH, height, lanes, tuple(boxes.values()), tuple(dict.fromkeys(arrows)))


def _boxes(rows: dict[str, StageRow]) -> list[Box]:
    lanes_width = 2 * BOX_WIDTH + GAP
    third = (lanes_width - 2 * GAP / 2) / 3
    boxes = [
        Box(MARGIN + place * (third + GAP / 2), MARGIN, third, rows[name], False)
        for place, name in enumerate(FIRST_ROW)
    ]
    drawn = [pair for pair in ROWS if rows.keys() & set(pair) or not OPTIONAL & set(pair)]
    for number, pair in enumerate(drawn, start=1):
        for column, name in enumerate(pair):
            if name is not None and (name in rows or name not in OPTIONAL):
                indent = INDENT if name in ASIDE else 0
                x = MARGIN + column * (BOX_WIDTH + GAP) + indent
                boxes.append(Box(x, _row_y(number), BOX_WIDTH - indent, rows[name], name in CONTROLS))
    boxes.append(Box(MARGIN, _row_y(len(drawn) + 1), lanes_width, rows[LAST_ROW], False))
    return boxes


def _row_y(number: int) -> int:
    return MARGIN + LANE_ROOM + number * ROW_HEIGHT


def _is_drawn(source: str, box: Box) -> bool:
    """Every training stage reads the tokens, every bundle holds the tokenizer: only the first arrows are drawn.

    Of what is measured only the bundles: the others are there to compare with.
    """
    if source == "tokens":
        return box.row.name in ROWS[0]
    if source in FIRST_ROW:
        return box.row.name in FIRST_ROW and abs(FIRST_ROW.index(source) - FIRST_ROW.index(box.row.name)) == 1
    return box.row.name != LAST_ROW or source in ROWS[-1]


def _arrow(source: Box, target: Box, role: str) -> Arrow:
    if source.y == target.y:
        middle = source.y + BOX_HEIGHT / 2
        return Arrow(f"M{source.x + source.width:g} {middle:g}H{target.x:g}", role == "teacher")
    if role == "teacher":
        return Arrow(_around(source, target), True)
    top, bottom = source.y + BOX_HEIGHT, target.y
    if source.row.lane == "both":
        # From the shared row down into a lane: to the lane's middle, with a bend under the row.
        bend, end = top + (ROW_HEIGHT - BOX_HEIGHT) / 2, target.x + target.width / 2
        return Arrow(f"M{source.x + source.width / 2:g} {top:g}V{bend:g}H{end:g}V{bottom:g}", False)
    x = max(source.x, target.x) + INDENT / 2
    return Arrow(f"M{x:g} {top:g}V{bottom:g}", False)


def _around(source: Box, target: Box) -> str:
    """From side to side: through the gap between the lanes, or around the right of one lane."""
    start_y, end_y = source.y + BOX_HEIGHT / 2, target.y + BOX_HEIGHT / 2
    right = source.x + source.width
    if source.x == target.x:
        return f"M{right:g} {start_y:g}h14V{end_y:g}h-14"
    return f"M{right:g} {start_y:g}H{right + GAP / 2:g}V{end_y:g}H{target.x:g}"
