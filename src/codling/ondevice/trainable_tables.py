"""From a palettized model's file to tables that train, and back to bytes.

Where in the recipe: in the training of the recovery adapter, where the base's tables and row scales may move with it:
few parameters, and nothing at run time. Indices stay. Ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from codling.compress.pack_bits import unpack_indices
from codling.compress.palettize import PalettizedMatrix, pack_checked, round_tables
from codling.model.linear import Linear
from codling.model.palettized_linear import PalettizedLinear
from codling.model.transformer import Transformer
from codling.ondevice.compress_blocks import tensor_name


def open_tables(model: Transformer, matrices: Mapping[str, PalettizedMatrix]) -> Transformer:
    """The model with every linear layer looked up in its tables; `matrices` are all of them, by tensor name."""

    def open_one(path: Any, node: object) -> object:
        if not isinstance(node, Linear):
            return node
        return _stacked([matrices[name] for name in _names(path, model.config.num_layers)])

    blocks = jax.tree_util.tree_map_with_path(open_one, model.blocks, is_leaf=lambda node: isinstance(node, Linear))
    return Transformer(model.embedding, blocks, model.final_norm, model.config)


def close_tables(model: Transformer, matrices: Mapping[str, PalettizedMatrix]) -> dict[str, PalettizedMatrix]:
    """The matrices with the tables and row scales that `model`, of `open_tables`, has come to."""
    nodes = jax.tree_util.tree_leaves_with_path(model.blocks, is_leaf=lambda node: isinstance(node, PalettizedLinear))
    found = {}
    for path, node in nodes:
        if isinstance(node, PalettizedLinear):
            tables, row_scales = np.asarray(node.shifted_tables), np.asarray(node.shifted_row_scales)
            for layer, name in enumerate(_names(path, model.config.num_layers)):
                found[name] = _with_tables(matrices[name], tables[layer], row_scales[layer], name)
    return found


def _stacked(matrices: Sequence[PalettizedMatrix]) -> PalettizedLinear:
    """One linear layer of all blocks. A matrix without row scales gets some, of one."""
    num_entries = max(matrix.tables.shape[1] for matrix in matrices)
    (rows_per_table,) = {matrix.rows_per_table for matrix in matrices}
    indices, tables, row_scales = [], [], []
    for matrix in matrices:
        indices.append(unpack_indices(matrix.indices, matrix.shape, matrix.bits))
        entries = matrix.tables.astype(np.float32) * matrix.scales[:, None]
        tables.append(np.pad(entries, ((0, 0), (0, num_entries - entries.shape[1]))))
        ones = np.ones(matrix.shape[0], np.float16)
        row_scales.append((ones if matrix.row_scales is None else matrix.row_scales).astype(np.float32))
    stacked_tables, stacked_scales = jnp.asarray(np.stack(tables)), jnp.asarray(np.stack(row_scales))
    return PalettizedLinear(
        jnp.asarray(np.stack(indices)),
        stacked_tables,
        stacked_scales,
        jnp.zeros_like(stacked_tables),
        jnp.zeros_like(stacked_scales),
        rows_per_table,
    )


def _with_tables(
    matrix: PalettizedMatrix, tables: Float[np.ndarray, "G P"], row_scales: Float[np.ndarray, " O"], name: str
) -> PalettizedMatrix:
    entries = tables[:, : matrix.tables.shape[1]]
    indices = unpack_indices(matrix.indices, matrix.shape, matrix.bits)
    groups = np.arange(matrix.shape[0]) // matrix.rows_per_table
    # Entries may have passed each other; files have them ascending.
    order = np.argsort(entries, axis=1, kind="stable")
    entries = np.take_along_axis(entries, order, axis=1)
    ranks = np.argsort(order, axis=1, kind="stable").astype(np.uint8)
    indices = np.take_along_axis(ranks[groups], indices.astype(np.intp), axis=1)
    mass = np.zeros(entries.shape)
    np.add.at(mass, (groups[:, None], indices), 1.0)
    rounded, scales = round_tables(entries, mass)
    return matrix._replace(
        indices=pack_checked(indices, matrix.bits, name),
        tables=rounded,
        scales=scales,
        row_scales=row_scales.astype(np.float16),
    )


def _names(path: Any, num_layers: int) -> list[str]:
    # Under an adapter the layer is the adapter's base.
    dotted = jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".base")
    return [tensor_name(layer, dotted) for layer in range(num_layers)]
