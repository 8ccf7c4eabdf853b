"""Adapters on disk, in the layout of the PEFT library: `adapter_config.json` and `adapter_model.safetensors`.

The config names the exact base by the hash of its weights file: an adapter is trained for one base, and attaching it to
another is an error.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from codling.adapters.lora import LoraLinear
from codling.artifact.hf import LAYER_NAMES, WEIGHTS_FILE, read_json, write_json
from codling.artifact.layout import ADAPTER_CONFIG_FILE as ADAPTER_CONFIG_FILE
from codling.artifact.layout import ADAPTER_WEIGHTS_FILE as ADAPTER_WEIGHTS_FILE
from codling.artifact.layout import BASE_KEY as BASE_KEY
from codling.artifact.manifest import file_sha256
from codling.artifact.tensor_files import read_tensors, write_tensors
from codling.errors import UserError
from codling.model.linear import Linear
from codling.model.transformer import Transformer


def save_adapter(directory: Path, model: Transformer, base: Path) -> None:
    """Write the adapter that sits on `model`, as 16-bit floats, for the base in directory `base`."""
    tensors: dict[str, np.ndarray] = {}
    ranks = set()
    for name, layer in _adapted(model).items():
        ranks.add(layer.down.shape[-2])
        for index in range(model.config.num_layers):
            prefix = f"base_model.model.model.layers.{index}.{name}"
            tensors[f"{prefix}.lora_A.weight"] = np.asarray(layer.down[index], np.float16)
            tensors[f"{prefix}.lora_B.weight"] = np.asarray(layer.up[index], np.float16)
    (rank,) = ranks
    directory.mkdir(parents=True, exist_ok=True)
    write_tensors(directory / ADAPTER_WEIGHTS_FILE, tensors, {})
    modules = {name.rpartition(".")[2] for name in _adapted(model)}
    write_adapter_config(directory, rank, modules, file_sha256(base / WEIGHTS_FILE))


def write_adapter_config(directory: Path, rank: int, modules: Iterable[str], base_sha256: str) -> None:
    """Write the `adapter_config.json` of the PEFT library, and the base that the adapter is for."""
    write_json(
        directory / ADAPTER_CONFIG_FILE,
        {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "r": rank,
            "lora_alpha": rank,
            "lora_dropout": 0.0,
            "bias": "none",
            "target_modules": sorted(modules),
            "base_model_name_or_path": None,
            BASE_KEY: base_sha256,
        },
    )


def attach_adapter(model: Transformer, directory: Path, base: Path, *, base_sha256: str | None = None) -> Transformer:
    """Put a saved adapter on the model that was read from directory `base`.

    `base_sha256` is the hash of the base's weights, where it is known: many adapters of a large base need it once.
    Errors: `UserError` for files that are missing or damaged, another base, or tensors of the wrong shape.
    """
    values = read_json(directory / ADAPTER_CONFIG_FILE)
    if values.get(BASE_KEY) != (base_sha256 or file_sha256(base / WEIGHTS_FILE)):
        raise UserError(f"{directory}: this adapter was trained for another base than {base}; train it for this one")
    path = directory / ADAPTER_WEIGHTS_FILE
    tensors, _ = read_tensors(path)
    rank = values.get("r")
    if not isinstance(rank, int):
        raise UserError(f"{directory / ADAPTER_CONFIG_FILE}: the rank 'r' is missing or not a whole number")

    def stack(name: str, letter: str, shape: tuple[int, ...]) -> jax.Array:
        parts = []
        for index in range(model.config.num_layers):
            key = f"base_model.model.model.layers.{index}.{name}.lora_{letter}.weight"
            if key not in tensors:
                raise UserError(f"{path}: tensor '{key}' is missing")
            if tensors[key].shape != shape:
                raise UserError(f"{path}: tensor '{key}' has shape {list(tensors[key].shape)}, need {list(shape)}")
            parts.append(tensors[key].astype(np.float32))
        return jnp.asarray(np.stack(parts))

    def wrap(path: Any, node: object) -> object:
        if not isinstance(node, Linear):
            return node
        name = _name(path)
        _, out_dim, in_dim = node.weight.shape
        return LoraLinear(node, stack(name, "A", (rank, in_dim)), stack(name, "B", (out_dim, rank)))

    blocks = jax.tree_util.tree_map_with_path(wrap, model.blocks, is_leaf=lambda node: isinstance(node, Linear))
    return Transformer(model.embedding, blocks, model.final_norm, model.config)


def _adapted(model: Transformer) -> dict[str, LoraLinear]:
    nodes = jax.tree_util.tree_leaves_with_path(model.blocks, is_leaf=lambda node: isinstance(node, LoraLinear))
    return {_name(path): node for path, node in nodes if isinstance(node, LoraLinear)}


def _name(path: Any) -> str:
    """The linear layer's Hugging Face name inside its block."""
    dotted = jax.tree_util.keystr(path, simple=True, separator=".")
    return LAYER_NAMES[f"{dotted}.weight"].removesuffix(".weight")
