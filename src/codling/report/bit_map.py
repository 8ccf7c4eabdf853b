"""The bit map of a palettized model: the width that every matrix got, layers from left to right, a row a projection.

Widths are told by how full a cell is and by a number in it, so no color need be told from another.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from codling.artifact.hf import LAYER_NAMES
from codling.report.formats import bits, nats
from codling.report.retrieval import DARK_FROM

PROJECTIONS = {name: path.split(".")[1] for path, name in LAYER_NAMES.items() if path.endswith(".weight")}
"""Name inside `model.layers.<i>` -> what its row is called, in the order of the rows."""
LAYERS_ROOM, MIN_PITCH, MAX_PITCH = 896, 16, 44
"""All layers share the room, down to cells that still hold a digit; with more layers the picture grows, and scrolls."""
CELL_HEIGHT, CELL_GAP, PARTS_GAP = 22, 2, 8
"""The last one is between the projections of attention and those of the feed-forward part."""
NAMES_WIDTH, MEANS_WIDTH, HEAD_HEIGHT, MARGIN = 58, 56, 38, 2
EVERY_LAYER_FROM, LABELED_LAYERS = 20, 4
"""Columns of this width all have their number; of narrower ones, one in so many."""
FILL_PER_BIT = 0.28
"""Opacity for each bit beyond the first: 2 bits are faint, 4 nearly full."""


class Shade(NamedTuple):
    """How a width is drawn."""

    width_bits: int

    @property
    def opacity(self) -> float:
        """Of the cell's color."""
        return min(1.0, FILL_PER_BIT * max(self.width_bits - 1, 0.5))

    @property
    def is_dark(self) -> bool:
        """Whether the number is written in the page's color."""
        return self.opacity >= DARK_FROM


class Cell(NamedTuple):
    """A matrix."""

    x: float
    y: float
    shade: Shade
    title: str
    """What hovering shows."""


class LayerName(NamedTuple):
    """What stands above a column."""

    x: float
    text: str


class ProjectionRow(NamedTuple):
    """What stands at both ends of a row."""

    y: float
    name: str
    mean_bits: float
    """Stored bits a weight: a projection has the same shape in all layers."""


class WidthCount(NamedTuple):
    """A line of the legend."""

    shade: Shade
    num_matrices: int
    nats_of_all: float
    """The cost if every matrix had this width."""


class BitMap(NamedTuple):
    """All that is drawn, and what its legend says."""

    width: float
    height: float
    cell_width: float
    layers: tuple[LayerName, ...]
    projections: tuple[ProjectionRow, ...]
    cells: tuple[Cell, ...]
    widths: tuple[WidthCount, ...]
    nats_as_chosen: float
    """The cost of the widths as they are."""
    cell_height: float = CELL_HEIGHT


class Matrix(NamedTuple):
    """What is known of one."""

    name: str
    layer: int
    projection: str
    width_bits: int
    stored_bits_per_weight: float
    nats_per_token: dict[int, float]
    """Width -> what it costs if all other matrices stay as they are."""


def bit_map(figures: Mapping[str, Mapping[str, Any]]) -> BitMap:
    """Lay out the matrices of which a stage's metrics tell, by tensor name."""
    matrices = _matrices(figures)
    num_layers = 1 + max(matrix.layer for matrix in matrices)
    pitch = max(MIN_PITCH, min(MAX_PITCH, LAYERS_ROOM // num_layers))
    tops = _tops()
    step = 1 if pitch >= EVERY_LAYER_FROM else LABELED_LAYERS
    return BitMap(
        width=NAMES_WIDTH + num_layers * pitch + MEANS_WIDTH,
        height=max(tops.values()) + CELL_HEIGHT + MARGIN,
        cell_width=pitch - CELL_GAP,
        layers=tuple(
            LayerName(NAMES_WIDTH + layer * pitch + (pitch - CELL_GAP) / 2, str(layer))
            for layer in range(0, num_layers, step)
        ),
        projections=tuple(_rows(matrices, tops)),
        cells=tuple(
            Cell(NAMES_WIDTH + one.layer * pitch, tops[one.projection], Shade(one.width_bits), _title(one))
            for one in matrices
        ),
        widths=tuple(_width_counts(matrices)),
        nats_as_chosen=sum(one.nats_per_token[one.width_bits] for one in matrices),
    )


def _matrices(figures: Mapping[str, Mapping[str, Any]]) -> list[Matrix]:
    """Layer by layer."""
    found = []
    for name, one in figures.items():
        layer, projection = name.removeprefix("model.layers.").split(".", 1)
        costs = {int(width): cost for width, cost in one["nats_per_token"].items()}
        found.append(Matrix(name, int(layer), projection, one["width_bits"], one["stored_bits_per_weight"], costs))
    order = list(PROJECTIONS)
    return sorted(found, key=lambda matrix: (matrix.layer, order.index(matrix.projection)))


def _tops() -> dict[str, float]:
    """Where each projection's row begins."""
    tops, y = {}, float(HEAD_HEIGHT)
    for number, projection in enumerate(PROJECTIONS):
        if number and projection.split(".")[0] != list(PROJECTIONS)[number - 1].split(".")[0]:
            y += PARTS_GAP
        tops[projection] = y
        y += CELL_HEIGHT + CELL_GAP
    return tops


def _rows(matrices: Sequence[Matrix], tops: Mapping[str, float]) -> list[ProjectionRow]:
    stored: dict[str, list[float]] = {}
    for matrix in matrices:
        stored.setdefault(matrix.projection, []).append(matrix.stored_bits_per_weight)
    return [
        ProjectionRow(tops[projection], PROJECTIONS[projection], sum(values) / len(values))
        for projection, values in stored.items()
    ]


def _width_counts(matrices: Sequence[Matrix]) -> list[WidthCount]:
    """Of each width that was tried, as all were for every matrix."""
    return [
        WidthCount(
            Shade(width),
            sum(matrix.width_bits == width for matrix in matrices),
            sum(matrix.nats_per_token[width] for matrix in matrices),
        )
        for width in sorted(matrices[0].nats_per_token)
    ]


def _title(matrix: Matrix) -> str:
    lines = [
        matrix.name,
        f"{matrix.width_bits} bits, {bits(matrix.stored_bits_per_weight)} a weight as stored",
        *(f"at {width} bits {nats(cost)} nats a token" for width, cost in sorted(matrix.nats_per_token.items())),
    ]
    return "\n".join(lines)
