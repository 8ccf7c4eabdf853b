"""Models in the Hugging Face layout: `config.json` and `model.safetensors`, read and written.

A codling model with query/key norm is a `Qwen3ForCausalLM`, one without is a `LlamaForCausalLM`; nothing is
lost either way. Weights have the names and the [out, in] layout that these classes expect, so other runtimes
read them.
"""

import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from codling.config import from_dict
from codling.errors import UserError
from codling.model.config import ModelConfig
from codling.model.init import init_transformer
from codling.model.transformer import Transformer

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
EMBEDDING_NAME = "model.embed_tokens.weight"

LAYER_NAMES = {
    "attention_norm.scale": "input_layernorm.weight",
    "attention.query.weight": "self_attn.q_proj.weight",
    "attention.key.weight": "self_attn.k_proj.weight",
    "attention.value.weight": "self_attn.v_proj.weight",
    "attention.output.weight": "self_attn.o_proj.weight",
    "attention.query_norm.scale": "self_attn.q_norm.weight",
    "attention.key_norm.scale": "self_attn.k_norm.weight",
    "feed_forward_norm.scale": "post_attention_layernorm.weight",
    "feed_forward.gate.weight": "mlp.gate_proj.weight",
    "feed_forward.up.weight": "mlp.up_proj.weight",
    "feed_forward.down.weight": "mlp.down_proj.weight",
}
"""Path inside a block -> name inside `model.layers.<i>`."""

FIXED_VALUES = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "use_sliding_window": False}
"""Choices that these architectures leave open and codling does not; a file that leaves them out means the same."""


def config_json(config: ModelConfig, special_ids: dict[str, int]) -> dict[str, Any]:
    """The model's `config.json`; `special_ids` gives bos, eos and pad."""
    kind = "qwen3" if config.query_key_norm else "llama"
    return {
        "architectures": ["Qwen3ForCausalLM" if config.query_key_norm else "LlamaForCausalLM"],
        "model_type": kind,
        "vocab_size": config.vocab_size,
        "hidden_size": config.model_dim,
        "intermediate_size": config.ffn_dim,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_query_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.context_length_tokens,
        "rope_theta": config.rope_theta,
        "rope_scaling": None,
        "rms_norm_eps": config.norm_epsilon,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "use_cache": True,
        **{f"{name}_token_id": token_id for name, token_id in special_ids.items()},
    }


def model_config(values: dict[str, Any], *, source: str) -> ModelConfig:
    """Read a `config.json`. Errors: `UserError` for another architecture or a feature we do not have."""
    if values.get("model_type") not in ("qwen3", "llama"):
        raise UserError(f"{source}: model_type {values.get('model_type')!r} is not one of qwen3, llama")
    if not values.get("tie_word_embeddings", False):
        raise UserError(f"{source}: input and output embedding must be one matrix (tie_word_embeddings)")
    for key, fixed in FIXED_VALUES.items():
        if values.get(key, fixed) != fixed:
            raise UserError(f"{source}: {key} {values[key]!r} is not supported, only {fixed!r}")
    scaling = values.get("rope_scaling") or {}
    parameters = values.get("rope_parameters") or scaling
    rope_type = parameters.get("rope_type", parameters.get("type", "default"))
    if rope_type != "default":
        raise UserError(f"{source}: RoPE scaling of type {rope_type!r} is not supported")
    keys = {
        "vocab_size": "vocab_size",
        "model_dim": "hidden_size",
        "ffn_dim": "intermediate_size",
        "num_layers": "num_hidden_layers",
        "num_query_heads": "num_attention_heads",
        "num_kv_heads": "num_key_value_heads",
        "head_dim": "head_dim",
        "context_length_tokens": "max_position_embeddings",
        "norm_epsilon": "rms_norm_eps",
    }
    missing = [key for key in keys.values() if key not in values]
    if missing:
        raise UserError(f"{source}: key '{missing[0]}' is missing")
    ours: dict[str, Any] = {ours: values[theirs] for ours, theirs in keys.items()}
    ours["rope_theta"] = parameters.get("rope_theta", values.get("rope_theta"))
    ours["query_key_norm"] = values["model_type"] == "qwen3"
    return from_dict(ModelConfig, ours, source=source)


def model_tensors(model: Transformer) -> dict[str, np.ndarray]:
    """All weights under their Hugging Face names, one array a layer."""
    tensors = {
        EMBEDDING_NAME: np.asarray(model.embedding),
        "model.norm.weight": np.asarray(model.final_norm.scale),
    }
    for path, stacked in _block_arrays(model).items():
        for layer in range(model.config.num_layers):
            tensors[f"model.layers.{layer}.{LAYER_NAMES[path]}"] = np.ascontiguousarray(stacked[layer])
    return tensors


def model_from_tensors(config: ModelConfig, tensors: dict[str, np.ndarray], *, source: str) -> Transformer:
    """Build the model. Errors: `UserError` naming a tensor that is missing, surplus or of the wrong shape."""
    like = eqx.filter_eval_shape(init_transformer, config, jax.random.key(0))
    remaining = dict(tensors)

    def take(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name not in remaining:
            raise UserError(f"{source}: tensor '{name}' is missing")
        tensor = remaining.pop(name)
        if tensor.shape != shape:
            raise UserError(
                f"{source}: tensor '{name}' has shape {list(tensor.shape)}, the config asks for {list(shape)}"
            )
        return tensor.astype(np.float32)

    leaves = {
        "embedding": take(EMBEDDING_NAME, like.embedding.shape),
        "final_norm.scale": take("model.norm.weight", like.final_norm.scale.shape),
    }
    for path, stacked in _block_arrays(like).items():
        names = [f"model.layers.{layer}.{LAYER_NAMES[path]}" for layer in range(config.num_layers)]
        leaves[f"blocks.{path}"] = np.stack([take(name, stacked.shape[1:]) for name in names])
    remaining.pop("lm_head.weight", None)  # some writers repeat the tied matrix
    if remaining:
        raise UserError(f"{source}: tensor '{min(remaining)}' belongs to no part of this model")

    def fill(path: Any, leaf: Any) -> Any:
        return jnp.asarray(leaves[_dotted(path)])

    return jax.tree_util.tree_map_with_path(fill, like)  # type: ignore[no-any-return]


def write_tensors(path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write safetensors with all names in order, so that the same weights give the same bytes."""
    save_file(dict(sorted(tensors.items())), path, metadata={"format": "pt", **metadata})
    # The library writes the metadata in random order; in order, the header has the same length.
    with path.open("r+b") as file:
        size_bytes = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size_bytes))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode().ljust(size_bytes)
        assert len(text) == size_bytes
        file.seek(8)
        file.write(text)


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read all tensors and the metadata.

    Errors: `UserError` for a file that is missing, truncated or not safetensors.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; the bundle is not complete")
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise UserError(f"{path}: not readable as safetensors, perhaps truncated ({error})") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Errors: `UserError` that names the file."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; the bundle is not complete")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: not a JSON object")
    return values


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON object for people and programs."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _block_arrays(model: Transformer) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(model.blocks)
    return {_dotted(path): leaf for path, leaf in leaves}


def _dotted(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
