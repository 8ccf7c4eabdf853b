"""The picture of `codling bench engine`: tokens a second by context, and prompts, ours and the peers'."""

import io
from collections.abc import Sequence

from codling.bench.engine_duel import GENERATION, PROMPT
from codling.bench.engine_log import Row

SIZE_INCHES = (10.0, 4.5)
OURS = "codling"
OUR_COLOR = "#2a6f3c"


def draw_engine_rows(rows: Sequence[Row]) -> bytes:
    """An SVG of what was measured with the most threads."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    num_threads = max((row.key.num_threads for row in rows), default=1)
    shown = [row for row in rows if row.key.num_threads == num_threads]
    with pyplot.rc_context({"svg.hashsalt": "codling", "svg.fonttype": "none", "font.size": 9}):
        plot, panels = pyplot.subplots(1, 2, figsize=SIZE_INCHES)
        for axes, group, label in zip(panels, (GENERATION, PROMPT), ("context", "prompt"), strict=True):
            lines = _lines(shown, group)
            sizes = sorted({size for line in lines.values() for size in line})
            for name, line in lines.items():
                # Lengths at equal distances: each is a multiple of the one before.
                places = [sizes.index(size) for size in line]
                style = {"color": OUR_COLOR, "linewidth": 2.5} if name == OURS else {"linewidth": 1.0}
                axes.plot(places, list(line.values()), marker="o", label=name, **style)
            axes.set_xticks(range(len(sizes)), [f"{size:,}" for size in sizes])
            axes.set(xlabel=f"tokens of {label}", ylabel=f"{group}, tokens a second", ylim=(0, None))
            axes.grid(alpha=0.3)
            if lines:
                axes.legend()
        plot.suptitle(f"{num_threads} threads")
        plot.tight_layout()
        file = io.BytesIO()
        plot.savefig(file, format="svg", metadata={"Date": None})
        pyplot.close(plot)
    return file.getvalue()


def _lines(rows: Sequence[Row], group: str) -> dict[str, dict[int, float]]:
    """Speed by length, of ours (the middle of its rows) and of each peer."""
    found = sorted((row for row in rows if row.key.group == group), key=lambda row: row.key.size_tokens)
    ours: dict[int, list[float]] = {}
    theirs: dict[str, dict[int, float]] = {}
    for row in found:
        ours.setdefault(row.key.size_tokens, []).append(row.value)
        if row.theirs:
            theirs.setdefault(row.key.peer, {})[row.key.size_tokens] = row.peer_value
    middle = {size: sorted(values)[len(values) // 2] for size, values in ours.items()}
    return {OURS: middle, **theirs} if middle else theirs
