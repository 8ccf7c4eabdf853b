"""Every matrix has its cell, in the column of its layer and the row of its projection, and tells its numbers."""

from itertools import pairwise

import pytest

from codling.artifact.hf import LAYER_NAMES
from codling.report.bit_map import LAYERS_ROOM, MEANS_WIDTH, NAMES_WIDTH, PROJECTIONS, BitMap, Shade, bit_map
from tests.report.conftest import matrices

ROWS = ["query", "key", "value", "output", "gate", "up", "down"]
DIGIT_WIDTH = 8
"""Room for one digit at the size that cells are numbered in."""
PAGE_WIDTH = 1032


def drawn(num_layers: int) -> BitMap:
    return bit_map(matrices(num_layers))


@pytest.mark.parametrize("num_layers", [1, 4, 16, 28, 40, 56])
def test_a_width_can_be_read_in_every_cell_and_the_picture_fits_the_page(num_layers: int) -> None:
    picture = drawn(num_layers)
    assert len({(cell.x, cell.y) for cell in picture.cells}) == len(picture.cells) == 7 * num_layers
    assert picture.cell_width >= DIGIT_WIDTH
    assert picture.width <= PAGE_WIDTH
    right, bottom = (max(values) for values in zip(*((cell.x, cell.y) for cell in picture.cells), strict=True))
    assert right + picture.cell_width <= picture.width - MEANS_WIDTH
    assert bottom + picture.cell_height <= picture.height
    xs = [layer.x for layer in picture.layers]
    assert all(later - earlier >= 2 * DIGIT_WIDTH for earlier, later in pairwise(xs))


def test_more_layers_than_have_room_scroll() -> None:
    assert drawn(100).width > NAMES_WIDTH + LAYERS_ROOM


def test_rows_are_projections_and_columns_are_layers() -> None:
    picture = drawn(4)
    assert [row.name for row in picture.projections] == ROWS
    assert [layer.text for layer in picture.layers] == ["0", "1", "2", "3"]
    assert [row.mean_bits for row in picture.projections] == pytest.approx([4.125] * 4 + [3.125] * 3)
    tops = {row.name: row.y for row in picture.projections}
    (cell,) = [cell for cell in picture.cells if "layers.3.mlp.down_proj" in cell.title]
    assert (cell.y, cell.x) == (tops["down"], max(cell.x for cell in picture.cells))
    assert cell.shade.width_bits == 2
    # Attention and the feed-forward part are told apart by a gap.
    steps = [later - earlier for earlier, later in pairwise(tops.values())]
    assert [step > steps[0] for step in steps] == [False, False, False, True, False, False]


def test_a_cell_tells_what_its_matrix_has_and_what_other_widths_would_cost() -> None:
    assert drawn(2).cells[-1].title.splitlines() == [
        "model.layers.1.mlp.down_proj.weight",
        "2 bits, 2.12 a weight as stored",
        "at 2 bits 0.0100 nats a token",
        "at 4 bits 0.00100 nats a token",
    ]


def test_the_legend_counts_and_adds_up() -> None:
    picture = drawn(4)
    assert [(width.shade.width_bits, width.num_matrices) for width in picture.widths] == [(2, 6), (4, 22)]
    assert [width.nats_of_all for width in picture.widths] == pytest.approx([0.28, 0.028])
    assert picture.nats_as_chosen == pytest.approx(6 * 0.01 + 22 * 0.001)


def test_layers_that_lack_a_projection_leave_its_place_empty() -> None:
    picture = bit_map({name: one for name, one in matrices(3).items() if "layers.1.self_attn.k_proj" not in name})
    assert len(picture.cells) == 20
    assert len(picture.layers) == 3


def test_wider_is_fuller() -> None:
    shades = [Shade(width) for width in (1, 2, 3, 4, 8)]
    opacities = [shade.opacity for shade in shades]
    assert opacities == sorted(set(opacities))
    assert 0 < opacities[0] < opacities[-1] <= 1
    assert [shade.is_dark for shade in shades] == [False, False, False, True, True]


def test_every_linear_layer_of_the_model_has_a_row() -> None:
    assert list(PROJECTIONS.values()) == ROWS
    assert set(PROJECTIONS) <= set(LAYER_NAMES.values())
