"""All feature adapters as one row of the table of stages: the box that stands for them in the picture of the build."""

from collections.abc import Mapping

from codling.report.stage_table import StageRow
from codling.report.titles import is_feature_adapter

ADAPTERS_BOX = "feature_adapters"
"""What the box is called among the stages."""


def with_adapters_as_one(rows: Mapping[str, StageRow]) -> dict[str, StageRow]:
    """The rows with all feature adapters taken together; as they are where there is none."""
    adapters = [row for name, row in rows.items() if is_feature_adapter(name)]
    if not adapters:
        return dict(rows)
    kept = {
        name: row._replace(inputs={role: _stands_for(source) for role, source in row.inputs.items()})
        for name, row in rows.items()
        if not is_feature_adapter(name)
    }
    return kept | {ADAPTERS_BOX: _box(adapters)}


def _stands_for(source: str) -> str:
    return ADAPTERS_BOX if is_feature_adapter(source) else source


def _box(adapters: list[StageRow]) -> StageRow:
    first, *others = adapters
    title = f"{len(adapters)} feature adapters" if others else first.title
    return first._replace(
        name=ADAPTERS_BOX,
        title=title,
        full_title=f"{title} ({first.lane})",
        num_tokens=sum(row.num_tokens for row in adapters),
        wall_time_s=sum(row.wall_time_s for row in adapters),
        started=min(row.started for row in adapters),
        changes=() if others else first.changes,
    )
