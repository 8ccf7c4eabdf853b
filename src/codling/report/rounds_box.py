"""All rounds of a side as one row of the table of stages: the box that stands for them in the picture of the build."""

from collections.abc import Mapping

from codling.report.rounds import aligned_side, num_rounds, round_stage
from codling.report.stage_table import StageRow
from codling.report.titles import Lane


def rounds_name(side: str) -> str:
    """What the box is called among the stages."""
    return f"{side}_rounds"


def with_rounds_as_one(rows: Mapping[str, StageRow]) -> dict[str, StageRow]:
    """The rows with all rounds of each side taken together, and what was made from a round made from all of them.

    A side without rounds ships its fine-tuned model; its first committee is that model under another name.
    """
    stands_for = {name: _stands_for(name, rows) for name in rows}
    kept = {
        name: row._replace(inputs={role: stands_for.get(source, source) for role, source in row.inputs.items()})
        for name, row in rows.items()
        if aligned_side(name) is None
    }
    lanes: tuple[Lane, ...] = ("server", "device")
    return kept | {rounds_name(side): _box(rows, side) for side in lanes if num_rounds(rows, side)}


def _stands_for(name: str, rows: Mapping[str, StageRow]) -> str:
    side = aligned_side(name)
    if side is None:
        return name
    return rounds_name(side) if num_rounds(rows, side) else f"{side}_sft"


def _box(rows: Mapping[str, StageRow], side: Lane) -> StageRow:
    count = num_rounds(rows, side)
    parts = [row for name, row in rows.items() if aligned_side(name) == side]
    title = f"iTeC, {count} round{'s' if count > 1 else ''}"
    return StageRow(
        name=rounds_name(side),
        title=title,
        full_title=f"{title} ({side})",
        lane=side,
        num_tokens=sum(row.num_tokens for row in parts),
        wall_time_s=sum(row.wall_time_s for row in parts),
        started=min(row.started for row in parts),
        changes=(),
        id=parts[-1].id,
        inputs={"model": f"{side}_sft"} | ({"teacher": teacher} if (teacher := _teacher(parts, rows, side)) else {}),
    )


def _teacher(parts: list[StageRow], rows: Mapping[str, StageRow], side: str) -> str | None:
    """The other side's rounds, or its fine-tuned model, where one of its committees sits in the first one."""
    for source in (source for row in parts for source in row.inputs.values()):
        stage = round_stage(source)
        if stage is not None and stage.side != side and stage.part == "committee":
            return _stands_for(source, rows)
    return None
