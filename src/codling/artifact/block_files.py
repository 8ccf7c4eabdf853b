"""A model on disk of which one block at a time is in memory."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from safetensors import SafetensorError, safe_open

from codling.artifact.hf import EMBEDDING_NAME, FINAL_NORM_NAME, LAYER_NAMES, WEIGHTS_FILE
from codling.artifact.model_files import load_config
from codling.errors import UserError
from codling.model.block import Block
from codling.model.init import init_transformer
from codling.model.norm import RMSNorm


class BlockFiles:
    """A dense model's files, opened; weights are read when they are asked for, as float32."""

    def __init__(self, directory: Path) -> None:
        """Open. Errors: `UserError` for files that are missing or damaged."""
        self.config = load_config(directory)
        self.num_layers, self.head_dim = self.config.num_layers, self.config.head_dim
        self.rope_theta = self.config.rope_theta
        self._path = directory / WEIGHTS_FILE
        if not self._path.is_file():
            raise UserError(f"{self._path}: no such file; the bundle is not complete")
        try:
            self._file = safe_open(self._path, framework="numpy")
        except (SafetensorError, ValueError) as error:
            raise UserError(f"{self._path}: not readable as safetensors, perhaps truncated ({error})") from None
        self._names = set(self._file.keys())
        like = eqx.filter_eval_shape(init_transformer, self.config, jax.random.key(0))
        self._like: Block = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), like.blocks)
        self._norm_like, self._embedding_shape = like.final_norm, like.embedding.shape

    @property
    def embedding(self) -> Float[Array, "V D"]:
        """Input and output embedding."""
        return jnp.asarray(self.read(EMBEDDING_NAME, self._embedding_shape))

    @property
    def final_norm(self) -> RMSNorm:
        """The norm before the output embedding."""
        scale = jnp.asarray(self.read(FINAL_NORM_NAME, self._norm_like.scale.shape))
        return eqx.tree_at(lambda norm: norm.scale, self._norm_like, scale)  # type: ignore[no-any-return]

    def block(self, layer: int) -> Block:
        """The block of a layer. Errors: `UserError` naming a tensor that is missing or of the wrong shape."""

        def fill(path: Any, leaf: jax.ShapeDtypeStruct) -> Array:
            dotted = jax.tree_util.keystr(path, simple=True, separator=".")
            return jnp.asarray(self.read(f"model.layers.{layer}.{LAYER_NAMES[dotted]}", leaf.shape))

        block: Block = jax.tree_util.tree_map_with_path(fill, self._like)
        return block

    def read(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """One tensor. Errors: `UserError` naming it."""
        if name not in self._names:
            raise UserError(f"{self._path}: tensor '{name}' is missing")
        tensor = self._file.get_tensor(name)
        if tensor.shape != shape:
            raise UserError(
                f"{self._path}: tensor '{name}' has shape {list(tensor.shape)}, the config asks for {list(shape)}"
            )
        found: np.ndarray = tensor.astype(np.float32)
        return found
