"""Compress a model block by block for the text that it is to run on, at an average of bits that is asked for.

Where in the recipe: palettization (arXiv 2407.21075 section 5.1). Three passes over the blocks, which may lie on disk:

1. forward    what each linear layer is fed (`input_moments`), and what each width would cost every output of it
2. backward   what an error of that output costs the model, in nats (`output_importance`)
   if asked for: what each width of each matrix costs indeed (`measured_sensitivity`)
   → a width for every matrix, by an integer program (`bit_allocation`)
3. forward    palettization with feedback (`palettize_calibrated`), each block fed by the compressed ones before it

Source: the report says that less important layers have 2 bits, and not how they are found; passes 1 and 2 are ours.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from codling.artifact.hf import LAYER_NAMES
from codling.compress.bit_allocation import Allocation, Choice, allocate_bits, check_target
from codling.compress.cores import on_all_cores
from codling.compress.error_feedback import Feedback, feedback_of
from codling.compress.kmeans import require_finite
from codling.compress.pack_bits import WIDTHS_BITS
from codling.compress.palettize import PalettizedMatrix, stored_bits
from codling.compress.palettize_calibrated import palettize_calibrated
from codling.config import config
from codling.data.loader import Batch
from codling.errors import UserError
from codling.model.block import Block
from codling.ondevice.blocks import Blocks
from codling.ondevice.compress_choices import SensitivityMethod
from codling.ondevice.input_moments import (
    Hidden,
    advance,
    block_moments,
    embed,
    linears,
    moments_and_after,
    with_weights,
)
from codling.ondevice.kept_work import FirstPasses, KeptWork
from codling.ondevice.measured_sensitivity import MeasuredSensitivity
from codling.ondevice.moved_outputs import moved_outputs
from codling.ondevice.output_importance import importance_by_layer
from codling.ondevice.rotate_blocks import RotatedBlocks

MIN_CALIBRATION_TOKENS = 1024
WIDE_INPUT, FINE_BITS = 2048, 4
"""Matrices that are fitted in half the sweeps and one descent: more takes most of the time and wins half a percent of
their outputs' error, where at 2 bits it won a tenth of a small model's divergence."""


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
    num_descents: int = 3
    """Times that every entry is chosen anew, given all others."""
    weighs_outputs: bool = True
    """Whether rows that share a table count by what errors of their outputs cost."""
    sensitivity: SensitivityMethod = SensitivityMethod.ESTIMATED
    """What the widths are chosen by."""
    rotate_values: bool = False
    """Rotate the values of each head before (`rotate_blocks`)."""
    rotate_residual: bool = False
    """Rotate the residual stream before; only of models whose final norm has one scale for all channels."""

    def __post_init__(self) -> None:
        if not self.widths_bits or set(self.widths_bits) - set(WIDTHS_BITS):
            raise ValueError(f"widths_bits are of {WIDTHS_BITS}, not {self.widths_bits}")
        if not 0 < self.target_bits_per_weight < np.inf:
            raise ValueError("target_bits_per_weight must be above 0 and finite")
        if self.num_sweeps < 1 or self.num_descents < 0:
            raise ValueError("num_sweeps must be at least 1, num_descents at least 0")

    @property
    def num_passes(self) -> int:
        """How often every block is gone to."""
        return 4 if self.sensitivity is SensitivityMethod.MEASURED else 3


class Sensitivity(NamedTuple):
    """What one width of one matrix costs."""

    stored_bits: float
    nats_per_token: float
    """Divergence from the uncompressed model, if it alone were palettized."""


class Compressed(NamedTuple):
    """What became of a model's projections, by tensor name."""

    matrices: dict[str, PalettizedMatrix]
    sensitivities: dict[str, dict[int, Sensitivity]]
    """What each width would have cost."""
    dense: RotatedBlocks
    """The model that was palettized: rotated, if asked for. What is not in `matrices` is to be taken from it."""


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
    stored = {name: [_stored(shape, width, config) for width in config.widths_bits] for name, shape in shapes.items()}
    check_target(sizes, stored, config.target_bits_per_weight)


def compress_blocks(
    model: Blocks,
    batches: Sequence[Batch],
    config: CompressConfig,
    key: PRNGKeyArray,
    progress: Callable[[int], None] = lambda num_done: None,
    kept: Path | None = None,
) -> Compressed:
    """Compress every linear layer; `progress` hears how many of the num_passes * num_layers steps are done.

    What is done is kept in the directory `kept`, if one is given, and not done again: the same call goes on where it
    was stopped, and ends in the same bytes. The directory must be this call's own.

    Errors: `UserError` for a calibration text of fewer than MIN_CALIBRATION_TOKENS tokens, an average that cannot be
    met, weights that are NaN or infinite, a residual stream that cannot be rotated.
    """
    check_text(batches)
    dense = rotated(model, config)
    passes = _Passes(dense, config, progress)
    start, work = [embed(dense.embedding, batch) for batch in batches], KeptWork(kept)
    first = work.first_passes(lambda: passes.first(start, key))
    sensitivities = {
        name: {width: Sensitivity(_stored(first.shapes[name], width, config), cost) for width, cost in found.items()}
        for name, found in first.nats.items()
    }
    choices = {
        name: {width: Choice(one.stored_bits, one.nats_per_token) for width, one in found.items()}
        for name, found in sensitivities.items()
    }
    num_weights = {name: math.prod(shape) for name, shape in first.shapes.items()}
    allocation = allocate_bits(num_weights, choices, config.target_bits_per_weight)
    return Compressed(passes.palettize(start, allocation, first.importance, work), sensitivities, dense)


def rotated(model: Blocks, config: CompressConfig) -> RotatedBlocks:
    """The model as it is palettized. Errors: `UserError` for one that cannot be rotated as asked."""
    return RotatedBlocks(model, values=config.rotate_values, residual=config.rotate_residual)


class _Passes:
    """The passes over the blocks of one model."""

    def __init__(self, model: Blocks, config: CompressConfig, progress: Callable[[int], None]) -> None:
        self._model, self._config, self._progress, self._num_done = model, config, progress, 0
        self._shape = model.config.head_dim, model.config.rope_theta

    def first(self, start: list[Hidden], key: PRNGKeyArray) -> FirstPasses:
        """All passes but the last."""
        before, errors, shapes = self.forward(start)
        importance = self.backward(before, key)
        if self._config.sensitivity is SensitivityMethod.MEASURED:
            return FirstPasses(shapes, importance, self.measure(before, importance))
        nats = {
            name: {width: 0.5 * float(importance[name] @ moved) for width, moved in tried.items()}
            for name, tried in errors.items()
        }
        return FirstPasses(shapes, importance, nats)

    def forward(
        self, rows: list[Hidden]
    ) -> tuple[list[list[Hidden]], dict[str, dict[int, np.ndarray]], dict[str, tuple[int, int]]]:
        """The rows before each block and at the end; how each width moves every output; the matrices' shapes."""
        before, errors, shapes = [rows], dict[str, dict[int, np.ndarray]](), dict[str, tuple[int, int]]()
        config = self._config
        for layer, block in self._blocks():
            fed, rows = moments_and_after(block, rows, *self._shape)
            for path, weight, moments, feedback in _with_feedback(block, fed):
                name = tensor_name(layer, path)
                require_finite(weight, name)
                shapes[name] = weight.shape[0], weight.shape[1]
                tried = partial(
                    moved_outputs,
                    weight,
                    moments,
                    feedback,
                    rows_per_table=config.rows_per_table,
                    with_row_scales=config.row_scales,
                )
                errors[name] = dict(zip(config.widths_bits, on_all_cores(tried, config.widths_bits), strict=True))
            before.append(rows)
        return before, errors, shapes

    def backward(self, before: list[list[Hidden]], key: PRNGKeyArray) -> dict[str, np.ndarray]:
        """What the square of an error of each output costs, a mean over tokens."""
        importance: dict[str, np.ndarray] = {}
        for layer, found in importance_by_layer(self._model, before, key):
            importance |= {tensor_name(layer, path): values for path, values in found.items()}
            self._done()
        return importance

    def measure(self, before: list[list[Hidden]], importance: dict[str, np.ndarray]) -> dict[str, dict[int, float]]:
        """What each width of each matrix costs the model, in nats a token."""
        measured, nats = MeasuredSensitivity(self._model, before), dict[str, dict[int, float]]()
        for layer, block in self._blocks():
            for path, weight, _, feedback in _with_feedback(block, block_moments(block, before[layer], *self._shape)):
                name = tensor_name(layer, path)
                nats[name] = {}
                for width in self._config.widths_bits:
                    small = self._palettized(name, weight, feedback, width, importance)
                    changed = with_weights(block, {path: small.dequantize()})
                    nats[name][width] = measured.nats_per_token(layer, changed)
        return nats

    def palettize(
        self, rows: list[Hidden], allocation: Allocation, importance: dict[str, np.ndarray], work: KeptWork
    ) -> dict[str, PalettizedMatrix]:
        """Every matrix at its width; each block is fed by the compressed ones before it."""
        self._num_done = (self._config.num_passes - 1) * self._model.config.num_layers
        matrices: dict[str, PalettizedMatrix] = {}
        for layer, block in self._blocks():
            small = work.block(layer, partial(self._palettized_block, layer, block, rows, allocation, importance))
            weights = {path: small[tensor_name(layer, path)].dequantize() for path, _ in linears(block)}
            replaced = with_weights(block, weights)
            rows = [advance(replaced, hidden, *self._shape) for hidden in rows]
            matrices |= small
        return matrices

    def _palettized_block(
        self,
        layer: int,
        block: Block,
        rows: list[Hidden],
        allocation: Allocation,
        importance: dict[str, np.ndarray],
    ) -> dict[str, PalettizedMatrix]:
        matrices = {}
        for path, weight, _, feedback in _with_feedback(block, block_moments(block, rows, *self._shape)):
            name = tensor_name(layer, path)
            matrices[name] = self._palettized(name, weight, feedback, allocation.width_bits[name], importance)
        return matrices

    def _palettized(
        self,
        name: str,
        weight: Float[np.ndarray, "O I"],
        feedback: Feedback,
        width: int,
        importance: dict[str, np.ndarray],
    ) -> PalettizedMatrix:
        num_sweeps, num_descents = self._config.num_sweeps, self._config.num_descents
        if weight.shape[1] >= WIDE_INPUT and width >= FINE_BITS:
            num_sweeps, num_descents = -(-num_sweeps // 2), min(num_descents, 1)
        return palettize_calibrated(
            weight,
            feedback,
            width,
            self._config.rows_per_table,
            row_importance=importance[name] if self._config.weighs_outputs else None,
            with_row_scales=self._config.row_scales,
            num_sweeps=num_sweeps,
            num_descents=num_descents,
            name=name,
        )

    def _blocks(self) -> Iterator[tuple[int, Block]]:
        for layer in range(self._model.config.num_layers):
            yield layer, self._model.block(layer)
            self._done()

    def _done(self) -> None:
        self._num_done += 1
        self._progress(self._num_done)


def _with_feedback(
    block: Block, moments: dict[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray, np.ndarray, Feedback]]:
    """The weights of a block's linear layers by their paths, the moments of what they are fed, and its factors."""
    factored: tuple[np.ndarray, Feedback] | None = None
    for path, linear in linears(block):
        # Neighbors are fed the same: it is factored once, and not kept longer than that.
        if factored is None or moments[path] is not factored[0]:
            factored = moments[path], feedback_of(moments[path])
        yield path, np.asarray(linear.weight), *factored


def tensor_name(layer: int, path: str) -> str:
    """A linear layer's name in a file, by its path in the block."""
    return f"model.layers.{layer}.{LAYER_NAMES[f'{path}.weight']}"


def _stored(shape: tuple[int, int], width: int, config: CompressConfig) -> float:
    return stored_bits(shape, width, config.rows_per_table, with_row_scales=config.row_scales)
