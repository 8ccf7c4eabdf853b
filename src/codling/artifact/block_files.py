"""A dense model on disk of which one block at a time is in memory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from codling.artifact.hf import EMBEDDING_NAME, FINAL_NORM_NAME, LAYER_NAMES, WEIGHTS_FILE, check_shape
from codling.artifact.model_files import load_config
from codling.artifact.tensor_files import StoredTensors
from codling.errors import UserError
from codling.model.block import Block
from codling.model.init import init_transformer
from codling.model.norm import RMSNorm


class BlockFiles:
    """A model's files, opened; a weight is read each time that it is asked for, as float32."""

    def __init__(self, directory: Path) -> None:
        """Open. Errors: `UserError` for files that are missing or damaged."""
        self.config = load_config(directory)
        self._path = directory / WEIGHTS_FILE
        # Missing and damaged files are told of now.
        self._open()
        like = eqx.filter_eval_shape(init_transformer, self.config, jax.random.key(0))
        self._like: Block = eqx.filter_eval_shape(
            lambda blocks: jax.tree.map(lambda leaf: leaf[0], blocks), like.blocks
        )
        self._norm_like: RMSNorm = like.final_norm
        self._embedding_shape = like.embedding.shape

    @property
    def embedding(self) -> Float[Array, "V D"]:
        """Input and output embedding."""
        return jnp.asarray(self._read(self._open(), EMBEDDING_NAME, self._embedding_shape))

    @property
    def final_norm(self) -> RMSNorm:
        """The norm before the output embedding."""
        scale = jnp.asarray(self._read(self._open(), FINAL_NORM_NAME, self._norm_like.scale.shape))
        return eqx.tree_at(lambda norm: norm.scale, self._norm_like, scale)  # type: ignore[no-any-return]

    def block(self, layer: int) -> Block:
        """The block of a layer. Errors: `UserError` naming a tensor that is missing or of the wrong shape."""
        stored = self._open()

        def fill(path: Any, leaf: jax.ShapeDtypeStruct) -> Array:
            dotted = jax.tree_util.keystr(path, simple=True, separator=".")
            return jnp.asarray(self._read(stored, f"model.layers.{layer}.{LAYER_NAMES[dotted]}", leaf.shape))

        block: Block = jax.tree_util.tree_map_with_path(fill, self._like)
        return block

    def _open(self) -> Mapping[str, np.ndarray]:
        """The file's tensors, opened anew: what was read of a mapped file stays in memory until it is closed."""
        return StoredTensors([self._path])

    def _read(self, stored: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
        """One tensor. Errors: `UserError` naming it."""
        if name not in stored:
            raise UserError(f"{self._path}: tensor '{name}' is missing")
        tensor = stored[name]
        check_shape(name, tensor.shape, shape, source=str(self._path))
        return tensor.astype(np.float32)
