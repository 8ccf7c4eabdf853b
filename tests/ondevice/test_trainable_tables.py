"""Tables opened and closed again are the same weights, also where training has let entries pass each other."""

import equinox as eqx
import jax
import numpy as np
import pytest

from codling.adapters.lora import attach, merge
from codling.artifact.hf import EMBEDDING_NAME, model_tensors
from codling.compress.palettize import PalettizedMatrix, palettize
from codling.model.palettized_linear import PalettizedLinear
from codling.model.transformer import Transformer
from codling.ondevice.trainable_tables import close_tables, open_tables

MIXED = {"q_proj": 2, "down_proj": 2}


@pytest.fixture(scope="module")
def matrices(tiny_model: Transformer) -> dict[str, PalettizedMatrix]:
    """Of two widths within one linear layer of the blocks, too."""
    dense = {name: tensor for name, tensor in model_tensors(tiny_model).items() if tensor.ndim == 2}
    return {
        name: palettize(tensor, 2 if "layers.0" in name and name.split(".")[-2] in MIXED else 4)
        for name, tensor in dense.items()
        if name != EMBEDDING_NAME
    }


def test_opened_is_what_the_file_says(tiny_model: Transformer, matrices: dict[str, PalettizedMatrix]) -> None:
    weights = model_tensors(merge(open_tables(tiny_model, matrices)))
    for name, matrix in matrices.items():
        np.testing.assert_allclose(weights[name], matrix.dequantize(), rtol=1e-6)


def test_closed_again_the_weights_are_those_that_were_trained(
    tiny_model: Transformer, matrices: dict[str, PalettizedMatrix]
) -> None:
    opened = open_tables(tiny_model, matrices)
    random = np.random.default_rng(0)

    def train(node: object) -> object:
        if not isinstance(node, PalettizedLinear):
            return node
        shifts = (0.4 * random.normal(size=node.tables.shape), 0.1 * random.normal(size=node.row_scales.shape))
        shifted = (jax.numpy.asarray(part, jax.numpy.float32) for part in shifts)
        return eqx.tree_at(lambda layer: (layer.table_shifts, layer.row_shifts), node, tuple(shifted))

    trained = jax.tree.map(train, opened, is_leaf=lambda node: isinstance(node, PalettizedLinear))
    closed = close_tables(attach(trained, 1, jax.random.key(0)), matrices)
    weights = model_tensors(merge(trained))
    assert closed.keys() == matrices.keys()
    for name, matrix in closed.items():
        assert (np.diff(matrix.tables.astype(int), axis=1) >= 0).all()
        largest = np.abs(weights[name]).max()
        # Tables in int8, row scales in half precision.
        np.testing.assert_allclose(matrix.dequantize(), weights[name], atol=largest / 60)
        assert (matrix.bits, matrix.shape) == (matrices[name].bits, matrices[name].shape)
