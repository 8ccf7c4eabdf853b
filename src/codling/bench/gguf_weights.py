"""The weights that a GGUF file of one of our models stands for, whatever types it has, under Hugging Face names."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from codling.artifact.gguf_file import gguf_names, gguf_package
from codling.artifact.hf import tensor_shapes
from codling.bench.peer_result import StoredWeight
from codling.errors import UserError
from codling.model.config import ModelConfig


def read_gguf_weights(path: Path, config: ModelConfig) -> dict[str, StoredWeight]:
    """Read every tensor of the model and make it dense.

    Errors: `UserError` for a tensor that is missing or of another shape.
    """
    gguf = gguf_package()
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    shapes = tensor_shapes(config)
    found = {}
    for name, their_name in gguf_names(config, shapes).items():
        tensor = tensors.get(their_name)
        # Their shapes begin with the dimension that lies closest.
        if tensor is None or tuple(int(size) for size in tensor.shape[::-1]) != shapes[name]:
            raise UserError(f"{path}: holds no tensor '{their_name}' of shape {list(shapes[name])}")
        values = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(shapes[name])
        found[name] = StoredWeight(_lay_out(name, values, config).astype(np.float32), 8.0 * int(tensor.n_bytes))
    return found


def _lay_out(name: str, weights: np.ndarray, config: ModelConfig) -> np.ndarray:
    """Take back what the export does to the queries and keys of llama.cpp's `llama`; `qwen3` is as ours."""
    if config.query_key_norm:
        return weights
    if name.endswith("q_proj.weight"):
        return half_pairs(weights, config.num_query_heads)
    return half_pairs(weights, config.num_kv_heads) if name.endswith("k_proj.weight") else weights


def half_pairs(weights: Float[np.ndarray, "NH D"], num_heads: int) -> Float[np.ndarray, "NH D"]:
    """The inverse of `gguf_file.neighbor_pairs`."""
    neighbors = weights.reshape(num_heads, -1, 2, weights.shape[1])
    return neighbors.swapaxes(1, 2).reshape(weights.shape)
