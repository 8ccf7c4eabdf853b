"""Compress a model block by block for the text that it is to run on, at an average of bits that is asked for.

Where in the recipe: palettization (arXiv 2407.21075 section 5.1). Three passes over the blocks, which may lie on disk:

1. forward    what each linear layer is fed (`input_moments`), and what each width would cost every output of it
2. backward   what an error of that output costs the model, in nats (`output_importance`)
   → a width for every matrix, by an integer program (`bit_allocation`)
3. forward    palettization with feedback (`palettize_calibrated`), each block fed by the compressed ones before it

Source: the report says that less important layers have 2 bits, and not how they are found; passes 1 and 2 are ours.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from codling.artifact.hf import LAYER_NAMES
from codling.compress.bit_allocation import Allocation, Choice, allocate_bits, check_target
from codling.compress.error_feedback import Feedback, feedback_of
from codling.compress.kmeans import require_finite
from codling.compress.pack_bits import WIDTHS_BITS
from codling.compress.palettize import PalettizedMatrix, stored_bits
from codling.compress.palettize_calibrated import palettize_calibrated
from codling.config import config
from codling.data.loader import Batch
from codling.errors import UserError
from codling.model.block import Block
from codling.model.linear import Linear
from codling.ondevice.blocks import Blocks
from codling.ondevice.input_moments import Hidden, advance, block_moments, embed, linears, with_linears
from codling.ondevice.output_importance import block_importance, gradient_at_end

NUM_PASSES = 3
MIN_CALIBRATION_TOKENS = 1024
TRIED_TABLES = 32
"""Tables of a matrix by which a width is judged; all of a small one, and evenly spread ones of a large one."""


@config
class CompressConfig:
    """How small, and how much is tried."""

    target_bits_per_weight: float = 3.7
    """Average over the projections, tables and scales included (arXiv 2407.21075 section 5.1: 3.7, and 3.5)."""
    widths_bits: tuple[int, ...] = (2, 4)
    """What a matrix may have."""
    rows_per_table: int = 16
    """Rows that share one table."""
    row_scales: bool = True
    """A 16-bit scale for each row (ours)."""
    num_sweeps: int = 4
    """Times that tables are fitted to what feedback made of the weights."""

    def __post_init__(self) -> None:
        if not self.widths_bits or set(self.widths_bits) - set(WIDTHS_BITS):
            raise ValueError(f"widths_bits are of {WIDTHS_BITS}, not {self.widths_bits}")
        if not 0 < self.target_bits_per_weight < np.inf or self.num_sweeps < 1:
            raise ValueError("target_bits_per_weight must be above 0 and finite, num_sweeps at least 1")


class Sensitivity(NamedTuple):
    """What one width of one matrix costs."""

    stored_bits: float
    nats_per_token: float
    """Divergence from the uncompressed model, to second order, if it alone were palettized."""


class Compressed(NamedTuple):
    """What became of a model's projections, by tensor name."""

    matrices: dict[str, PalettizedMatrix]
    sensitivities: dict[str, dict[int, Sensitivity]]
    """What each width would have cost."""


def check_text(batches: Sequence[Batch]) -> int:
    """The tokens of a calibration text. Errors: `UserError` where they are too few."""
    num_tokens = sum(int((batch.segment_ids > 0).sum()) for batch in batches)
    if num_tokens < MIN_CALIBRATION_TOKENS:
        raise UserError(
            f"the calibration text has {num_tokens} tokens, at least {MIN_CALIBRATION_TOKENS} are needed; give more"
        )
    return num_tokens


def check_bits(shapes: Mapping[str, tuple[int, int]], config: CompressConfig) -> None:
    """Raise a `UserError` where matrices of these shapes cannot be as small as is asked for."""
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    stored = {
        name: [
            stored_bits(shape, width, config.rows_per_table, with_row_scales=config.row_scales)
            for width in config.widths_bits
        ]
        for name, shape in shapes.items()
    }
    check_target(sizes, stored, config.target_bits_per_weight)


def compress_blocks(
    model: Blocks,
    batches: Sequence[Batch],
    config: CompressConfig,
    key: PRNGKeyArray,
    progress: Callable[[int], None] = lambda num_done: None,
) -> Compressed:
    """Compress every linear layer; `progress` hears how many of the NUM_PASSES * num_layers block passes are done.

    Errors: `UserError` for a calibration text of fewer than MIN_CALIBRATION_TOKENS tokens, an average that cannot be
    met, weights that are NaN or infinite.
    """
    num_tokens = check_text(batches)
    passes = _Passes(model, progress)
    start = [embed(model.embedding, batch) for batch in batches]
    before, errors, sizes = passes.forward(start, config)
    importance = passes.backward(before, key, num_tokens)
    sensitivities = {
        name: {
            width: Sensitivity(bits, 0.5 * float(importance[name] @ moved)) for width, (bits, moved) in tried.items()
        }
        for name, tried in errors.items()
    }
    choices = {
        name: {width: Choice(one.stored_bits, one.nats_per_token) for width, one in found.items()}
        for name, found in sensitivities.items()
    }
    allocation = allocate_bits(sizes, choices, config.target_bits_per_weight)
    return Compressed(passes.palettize(start, allocation, importance, config), sensitivities)


class _Passes:
    """The three passes over the blocks of one model."""

    def __init__(self, model: Blocks, progress: Callable[[int], None]) -> None:
        self._model, self._progress, self._num_done = model, progress, 0
        self._shape = model.config.head_dim, model.config.rope_theta

    def forward(
        self, rows: list[Hidden], config: CompressConfig
    ) -> tuple[list[list[Hidden]], dict[str, dict[int, tuple[float, np.ndarray]]], dict[str, int]]:
        """The rows before each block and at the end; what each width costs every output; the matrices' sizes."""
        before, errors, sizes = [rows], dict[str, dict[int, tuple[float, np.ndarray]]](), dict[str, int]()
        for layer, block in self._blocks():
            moments = block_moments(block, rows, *self._shape)
            for path, linear in linears(block):
                name, weight = tensor_name(layer, path), np.asarray(linear.weight)
                require_finite(weight, name)
                sizes[name] = weight.size
                feedback = feedback_of(moments[path])
                errors[name] = {
                    width: _tried(weight, moments[path], feedback, width, config) for width in config.widths_bits
                }
            rows = [advance(block, hidden, *self._shape) for hidden in rows]
            before.append(rows)
        return before, errors, sizes

    def backward(
        self, before: list[list[Hidden]], key: PRNGKeyArray, num_tokens: int
    ) -> dict[str, Float[np.ndarray, " O"]]:
        """What the square of an error of each output costs, a mean over tokens."""
        embedding, final_norm = self._model.embedding, self._model.final_norm
        gradients = [
            gradient_at_end(embedding, final_norm, hidden, jax.random.fold_in(key, number))
            for number, hidden in enumerate(before[-1])
        ]
        found: dict[str, np.ndarray] = {}
        for layer, block in self._blocks(-1):
            for number, hidden in enumerate(before[layer]):
                gradients[number], squares = block_importance(block, hidden, gradients[number], *self._shape)
                for path, values in squares.items():
                    name = tensor_name(layer, path)
                    found[name] = found.get(name, 0.0) + np.asarray(values, np.float64) / num_tokens
        return found

    def palettize(
        self, rows: list[Hidden], allocation: Allocation, importance: dict[str, np.ndarray], config: CompressConfig
    ) -> dict[str, PalettizedMatrix]:
        """Every matrix at its width; each block is fed by the compressed ones before it."""
        matrices: dict[str, PalettizedMatrix] = {}
        for layer, block in self._blocks():
            moments = block_moments(block, rows, *self._shape)
            for path, linear in linears(block):
                name = tensor_name(layer, path)
                matrices[name] = palettize_calibrated(
                    np.asarray(linear.weight),
                    feedback_of(moments[path]),
                    allocation.width_bits[name],
                    config.rows_per_table,
                    row_importance=importance[name],
                    with_row_scales=config.row_scales,
                    num_sweeps=config.num_sweeps,
                    name=name,
                )
            names = [tensor_name(layer, path) for path, _ in linears(block)]
            small = {name: Linear(jnp.asarray(matrices[name].dequantize())) for name in names}
            replaced, _ = with_linears(block, partial(_take, small, layer))
            rows = [advance(replaced, hidden, *self._shape) for hidden in rows]
        return matrices

    def _blocks(self, step: int = 1) -> Iterator[tuple[int, Block]]:
        """All layers in order, or from the last to the first."""
        num_layers = self._model.config.num_layers
        for layer in range(num_layers)[::step]:
            yield layer, self._model.block(layer)
            self._num_done += 1
            self._progress(self._num_done)


def _take(small: dict[str, Linear], layer: int, path: str, dense: Linear) -> Linear:
    return small[tensor_name(layer, path)]


def tensor_name(layer: int, path: str) -> str:
    """A linear layer's name in a file, by its path in the block."""
    return f"model.layers.{layer}.{LAYER_NAMES[f'{path}.weight']}"


def _tried(
    weight: Float[np.ndarray, "O I"],
    moments: Float[np.ndarray, "I I"],
    feedback: Feedback,
    width: int,
    config: CompressConfig,
) -> tuple[float, Float[np.ndarray, " O"]]:
    """Stored bits, and the mean square by which each output would move; outputs not tried get the tried ones' mean.

    With feedback, which takes from 7 to 70 times off the error, and not from each matrix alike; tables as they are
    before the first error travels.
    """
    num_tables = -(-weight.shape[0] // config.rows_per_table)
    tables = np.unique(np.linspace(0, num_tables - 1, min(num_tables, TRIED_TABLES)).astype(int))
    rows = (tables[:, None] * config.rows_per_table + np.arange(config.rows_per_table)).ravel()
    rows = rows[rows < weight.shape[0]]
    small = palettize_calibrated(
        weight[rows],
        feedback,
        width,
        config.rows_per_table,
        with_row_scales=config.row_scales,
        num_sweeps=1,
        num_passes=0,
    )
    difference = weight[rows] - small.dequantize()
    moved = np.einsum("oi,oi->o", difference @ moments.astype(np.float32), difference)
    of_all = np.full(weight.shape[0], moved.mean())
    of_all[rows] = moved
    shape = weight.shape[0], weight.shape[1]
    return stored_bits(shape, width, config.rows_per_table, with_row_scales=config.row_scales), of_all
