"""Blocks read from files are those of the model that was saved."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from codling.artifact.block_files import BlockFiles
from codling.artifact.hf import WEIGHTS_FILE
from codling.artifact.tensor_files import read_tensors, write_tensors
from codling.errors import UserError


def test_every_block_is_the_model_s(pair: Any) -> None:
    files = BlockFiles(pair.server)
    np.testing.assert_array_equal(files.embedding, pair.model.embedding)
    np.testing.assert_array_equal(files.final_norm.scale, pair.model.final_norm.scale)
    for layer in range(files.config.num_layers):
        expected = jax.tree.map(lambda leaf, layer=layer: leaf[layer], pair.model.blocks)
        found = files.block(layer)
        assert str(jax.tree.structure(found)) == str(jax.tree.structure(expected))
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_tensor_that_is_missing_or_misshaped_is_named(pair: Any, tmp_path: Path) -> None:
    for path in pair.server.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors, metadata = read_tensors(pair.server / WEIGHTS_FILE)
    name = "model.layers.1.mlp.up_proj.weight"
    write_tensors(tmp_path / WEIGHTS_FILE, tensors | {name: tensors[name][:-1].copy()}, metadata)
    with pytest.raises(UserError, match=rf"'{name}' has shape \[23, 16\], the config asks for \[24, 16\]"):
        BlockFiles(tmp_path).block(1)
    del tensors[name]
    write_tensors(tmp_path / WEIGHTS_FILE, tensors, metadata)
    with pytest.raises(UserError, match=f"'{name}' is missing"):
        BlockFiles(tmp_path).block(1)
