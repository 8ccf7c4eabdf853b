"""Compress a model block by block for the text that it is to run on, at an average of bits that is asked for.

Where in the recipe: palettization (arXiv 2407.21075 section 5.1). Three passes over the blocks, which may lie on disk:

1. forward    what each linear layer is fed (`input_moments`), and what each width would cost every output of it
2. backward   what an error of that output costs the model, in nats (`output_importance`)
   → a width for every matrix, by an integer program (`bit_allocation`)
3. forward    palettization with feedback (`palettize_calibrated`), each block fed by the compressed ones before it

Source: the report says that less important layers have 2 bits, and not how they are found; passes 1 and 2 are ours.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from codling.compress.bit_allocation import Allocation, Choice, allocate_bits
from codling.compress.input_moments import Hidden, advance, block_moments, with_linears
from codling.compress.output_importance import block_importance, gradient_at_end
from codling.compress.pack_bits import WIDTHS_BITS
from codling.compress.palettize import PalettizedMatrix, palettize, stored_bits
from codling.compress.palettize_calibrated import palettize_calibrated
from codling.config import config
from codling.data.loader import Batch
from codling.errors import UserError
from codling.model.block import Block
from codling.model.linear import Linear
from codling.model.norm import RMSNorm

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
    num_sweeps: int = 4
    """Times that tables are fitted to what feedback made of the weights."""

    def __post_init__(self) -> None:
        if not self.widths_bits or set(self.widths_bits) - set(WIDTHS_BITS):
            raise ValueError(f"widths_bits are of {WIDTHS_BITS}, not {self.widths_bits}")
        if not 0 < self.target_bits_per_weight < np.inf or self.num_sweeps < 1:
            raise ValueError("target_bits_per_weight must be above 0 and finite, num_sweeps at least 1")


class Blocks(Protocol):
    """A model of which one block at a time is in memory."""

    num_layers: int
    head_dim: int
    rope_theta: float
    embedding: Float[Array, "V D"]
    final_norm: RMSNorm

    def block(self, layer: int) -> Block:
        """The block of a layer."""


class Sensitivity(NamedTuple):
    """What one width of one matrix costs."""

    stored_bits: float
    nats_per_token: float
    """Divergence from the uncompressed model, to second order, if it alone were palettized, without feedback."""


Matrix = tuple[int, str]
"""Layer and path in the block."""


def compress_blocks(
    model: Blocks,
    batches: Sequence[Batch],
    config: CompressConfig,
    key: PRNGKeyArray,
    store: Callable[[int, dict[str, PalettizedMatrix]], None],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Allocation, dict[Matrix, dict[int, Sensitivity]]]:
    """Compress every linear layer; `store` gets those of a layer as soon as they are done.

    Errors: `UserError` for a calibration text of fewer than MIN_CALIBRATION_TOKENS tokens, an average that cannot be
    met, weights that are NaN or infinite.
    """
    num_tokens = sum(int((batch.segment_ids > 0).sum()) for batch in batches)
    if num_tokens < MIN_CALIBRATION_TOKENS:
        raise UserError(
            f"the calibration text has {num_tokens} tokens, at least {MIN_CALIBRATION_TOKENS} are needed; give more text"
        )
    total = 3 * model.num_layers
    rows = [_embed(model, batch) for batch in batches]
    before: list[list[Hidden]] = []
    errors: dict[Matrix, dict[int, tuple[float, np.ndarray]]] = {}
    num_weights: dict[str, int] = {}
    for layer in range(model.num_layers):
        block = model.block(layer)
        moments = block_moments(block, rows, model.head_dim, model.rope_theta)
        for path, linear in _linears(block):
            name = _name((layer, path))
            num_weights[name] = linear.weight.size
            errors[layer, path] = {
                width: _tried(np.asarray(linear.weight), moments[path], width, config.rows_per_table, name)
                for width in config.widths_bits
            }
        before.append(rows)
        rows = [advance(block, hidden, model.head_dim, model.rope_theta) for hidden in rows]
        progress(layer + 1, total)
    importance = _importance(model, before, rows, key, num_tokens, lambda done: progress(model.num_layers + done, total))
    sensitivities = {
        matrix: {
            width: Sensitivity(bits, 0.5 * float(importance[matrix] @ moved)) for width, (bits, moved) in tried.items()
        }
        for matrix, tried in errors.items()
    }
    choices = {
        _name(matrix): {width: Choice(one.stored_bits, one.nats_per_token) for width, one in found.items()}
        for matrix, found in sensitivities.items()
    }
    allocation = allocate_bits(num_weights, choices, config.target_bits_per_weight)
    rows = before[0]
    for layer in range(model.num_layers):
        block = model.block(layer)
        moments = block_moments(block, rows, model.head_dim, model.rope_theta)
        compressed = {
            path: palettize_calibrated(
                np.asarray(linear.weight),
                moments[path],
                allocation.width_bits[_name((layer, path))],
                config.rows_per_table,
                row_importance=importance[layer, path],
                num_sweeps=config.num_sweeps,
                name=_name((layer, path)),
            )
            for path, linear in _linears(block)
        }
        store(layer, compressed)
        small, _ = with_linears(block, lambda path, _: Linear(jnp.asarray(compressed[path].dequantize())))  # noqa: B023
        rows = [advance(small, hidden, model.head_dim, model.rope_theta) for hidden in rows]
        progress(2 * model.num_layers + layer + 1, total)
    return allocation, sensitivities


def _tried(
    weight: Float[np.ndarray, "O I"], moments: Float[np.ndarray, "I I"], width: int, rows_per_table: int, name: str
) -> tuple[float, Float[np.ndarray, " O"]]:
    """Stored bits, and the mean square by which each output would move; outputs not tried get the tried ones' mean."""
    num_tables = -(-weight.shape[0] // rows_per_table)
    tables = np.unique(np.linspace(0, num_tables - 1, min(num_tables, TRIED_TABLES)).astype(int))
    rows = (tables[:, None] * rows_per_table + np.arange(rows_per_table)).ravel()
    rows = rows[rows < weight.shape[0]]
    difference = weight[rows] - palettize(weight[rows], width, rows_per_table, name=name).dequantize()
    moved = np.einsum("oi,oi->o", difference @ moments.astype(np.float32), difference)
    of_all = np.full(weight.shape[0], moved.mean())
    of_all[rows] = moved
    return stored_bits(weight.shape, width, rows_per_table), of_all


def _importance(
    model: Blocks,
    before: list[list[Hidden]],
    last: list[Hidden],
    key: PRNGKeyArray,
    num_tokens: int,
    progress: Callable[[int], None],
) -> dict[Matrix, Float[np.ndarray, " O"]]:
    gradients = [
        gradient_at_end(model.embedding, model.final_norm, hidden, jax.random.fold_in(key, number))
        for number, hidden in enumerate(last)
    ]
    found: dict[Matrix, np.ndarray] = {}
    for layer in reversed(range(model.num_layers)):
        block = model.block(layer)
        for number, hidden in enumerate(before[layer]):
            gradients[number], squares = block_importance(
                block, hidden, gradients[number], model.head_dim, model.rope_theta
            )
            for path, values in squares.items():
                found[layer, path] = found.get((layer, path), 0.0) + np.asarray(values, np.float64) / num_tokens
        progress(model.num_layers - layer)
    return found


def _embed(model: Blocks, batch: Batch) -> Hidden:
    tokens, positions, segment_ids = map(jnp.asarray, (batch.tokens, batch.positions, batch.segment_ids))
    return Hidden(model.embedding[tokens], positions, segment_ids)


def _linears(block: Block) -> list[tuple[str, Linear]]:
    return with_linears(block, lambda _, node: node)[1]


def _name(matrix: Matrix) -> str:
    return f"layer {matrix[0]} {matrix[1]}"
