"""Matplotlib figures as SVG that belongs to the page: its fonts, its colors in light and dark, its own ids."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = {
    "ink": "#1b2430",
    "muted": "#5f6b7a",
    "line": "#d9dee5",
    "server": "#1f5fa8",
    "device": "#c2570c",
    "control": "#74808f",
    "card": "#ffffff",
}
"""Name -> color in light mode, all different. On the page each becomes the CSS variable of its name."""

WIDTH_IN, HEIGHT_IN = 5.0, 2.9
"""Five inches of 72 points fill a phone at scale 1, and half a desktop's column at 1.4."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": COLORS["ink"],
    "axes.labelcolor": COLORS["muted"],
    "axes.labelsize": 10,
    "axes.edgecolor": COLORS["line"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": COLORS["line"],
    "grid.linewidth": 0.7,
    "xtick.color": COLORS["line"],
    "ytick.color": COLORS["line"],
    "xtick.labelcolor": COLORS["muted"],
    "ytick.labelcolor": COLORS["muted"],
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


class Drawing:
    """One figure with one pair of axes, or several side by side, and the SVG that it becomes."""

    def __init__(self, figure: "Figure", panels: "list[Axes]") -> None:
        self.axes = panels[0]
        self.panels = panels
        self.svg = Markup("")
        self._figure = figure

    def render(self, name: str, description: str) -> None:
        """Turn the figure into SVG."""
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        self._figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
        self.svg = inline(buffer.getvalue(), name, description)


@contextmanager
def drawing(name: str, description: str, *, height_in: float = HEIGHT_IN, num_panels: int = 1) -> Iterator[Drawing]:
    """Draw on `axes` (or on each of `panels`) within the block; `svg` is there after it.

    The same drawing gives the same bytes.
    """
    import matplotlib
    from matplotlib.figure import Figure

    # The salt takes the place of a random one in the ids of clip paths.
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        result = Drawing(figure, figure.subplots(1, num_panels, squeeze=False)[0].tolist())
        yield result
        result.render(name, description)


def inline(svg: str, name: str, description: str) -> Markup:
    """Fit a Matplotlib SVG into a page that has others: no prologue, no fixed size, ids under `name`."""
    svg = svg[svg.index("<svg") :]
    opening, body = svg.split(">", 1)
    view_box = re.search(r'viewBox="([^"]+)"', opening)
    assert view_box is not None
    body = body.replace("xlink:href", "href")
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    # The page's own font; Matplotlib's anchors keep the words in place.
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    for variable, color in COLORS.items():
        body = body.replace(color, f"var(--{variable})")
    label = f'<title id="{name}-title">{escape(description)}</title>'
    return Markup(f'<svg viewBox="{view_box[1]}" role="img" aria-labelledby="{name}-title">{label}{body}')
