"""Models in the Hugging Face layout: `config.json` and the tensors of `model.safetensors`.

A codling model with query/key norm is a `Qwen3ForCausalLM`, one without is a `LlamaForCausalLM`; nothing is
lost either way. Weights have the names and the [out, in] layout that these classes expect, so other runtimes
read them.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from codling.artifact.layout import CONFIG_FILE as CONFIG_FILE
from codling.artifact.layout import WEIGHTS_FILE as WEIGHTS_FILE
from codling.artifact.layout import read_json as read_json
from codling.config import from_dict
from codling.errors import UserError
from codling.model.config import ModelConfig
from codling.model.init import init_transformer
from codling.model.norm import RMSNorm
from codling.model.transformer import Transformer

EMBEDDING_NAME = "model.embed_tokens.weight"
FINAL_NORM_NAME = "model.norm.weight"
HEAD_NAME = "lm_head.weight"
"""The output embedding, where a writer repeats it."""

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

FIXED_VALUES = {
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "use_sliding_window": False,
    "partial_rotary_factor": 1.0,
}
"""Choices that these architectures leave open and codling does not; a file that leaves them out means the same."""

SpecialIds = Mapping[str, int | list[int]]
"""Ids of special tokens by role: bos, eos, pad, as far as a tokenizer has them; several may end a text."""


def config_json(config: ModelConfig, special_ids: SpecialIds, dtype: str = "float32") -> dict[str, Any]:
    """The model's `config.json`; `dtype` is what its weights are stored in."""
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
        "torch_dtype": dtype,
        "use_cache": True,
        **{f"{name}_token_id": token_id for name, token_id in special_ids.items()},
    }


def model_config(values: dict[str, Any], *, source: str) -> ModelConfig:
    """Read a `config.json`; a key that is null means what a missing one does.

    The engine reads it by the same rules (`native/model/config.cpp`).
    Errors: `UserError` for another architecture or a feature we do not have.
    """
    values = _without_nulls(values)
    if values.get("model_type") not in ("qwen3", "llama"):
        raise UserError(f"{source}: model_type {values.get('model_type')!r} is not one of qwen3, llama")
    if values.get("tie_word_embeddings") is not True:
        raise UserError(f"{source}: untied; input and output embedding must be one matrix (tie_word_embeddings)")
    for key, fixed in FIXED_VALUES.items():
        value = values.get(key, fixed)
        # Python's True is a 1, too.
        if value != fixed or isinstance(value, bool) != isinstance(fixed, bool):
            raise UserError(f"{source}: {key} {value!r} is not supported, only {fixed!r}")
    keys = {
        "vocab_size": "vocab_size",
        "model_dim": "hidden_size",
        "ffn_dim": "intermediate_size",
        "num_layers": "num_hidden_layers",
        "num_query_heads": "num_attention_heads",
        "num_kv_heads": "num_key_value_heads",
        "head_dim": "head_dim",
        "context_length_tokens": "max_position_embeddings",
        "rope_theta": "rope_theta",
        "norm_epsilon": "rms_norm_eps",
    }
    defaults = _llama_defaults(values) if values["model_type"] == "llama" else {}
    given = defaults | values | _rope_theta(values, source=source)
    missing = [key for key in keys.values() if key not in given]
    if missing:
        raise UserError(f"{source}: key '{missing[0]}' is missing")
    ours: dict[str, Any] = {ours: given[theirs] for ours, theirs in keys.items()}
    ours["query_key_norm"] = values["model_type"] == "qwen3"
    return from_dict(ModelConfig, ours, source=source)


def _without_nulls(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _rope_theta(values: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """What newer files keep among the parameters of RoPE and older ones beside them; empty if it is not there."""
    found: dict[str, Any] = {}
    for key in ("rope_scaling", "rope_parameters"):
        parameters = values.get(key, {})
        if not isinstance(parameters, dict):
            raise UserError(f"{source}: RoPE parameters {parameters!r} are no JSON object")
        given = _without_nulls(parameters)
        rope_type = given.get("rope_type", given.get("type", "default"))
        if rope_type != "default":
            raise UserError(f"{source}: RoPE scaling of type {rope_type!r} is not supported")
        found |= {name: given[name] for name in given if name == "rope_theta"}
    return found


def _llama_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """What older files leave out: no grouping of heads, and heads that share the width of the residual stream."""
    num_heads, model_dim = values.get("num_attention_heads"), values.get("hidden_size")
    if not isinstance(num_heads, int) or not isinstance(model_dim, int) or num_heads < 1:
        return {}
    return {"num_key_value_heads": num_heads, "head_dim": model_dim // num_heads}


def model_tensors(model: Transformer) -> dict[str, np.ndarray]:
    """All weights under their Hugging Face names, one array a layer; on a CPU they share the model's memory."""
    tensors = {
        EMBEDDING_NAME: np.asarray(model.embedding),
        FINAL_NORM_NAME: np.asarray(model.final_norm.scale),
    }
    for path, leaf in _block_arrays(model).items():
        stacked = np.asarray(leaf)
        for layer, name in enumerate(_layer_names(path, model.config)):
            tensors[name] = np.ascontiguousarray(stacked[layer])
    return tensors


def tensor_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a model, by its Hugging Face name."""
    like = _like(config)
    shapes = {EMBEDDING_NAME: like.embedding.shape, FINAL_NORM_NAME: like.final_norm.scale.shape}
    for path, stacked in _block_arrays(like).items():
        shapes |= dict.fromkeys(_layer_names(path, config), stacked.shape[1:])
    return shapes


def check_names(config: ModelConfig, names: Iterable[str], *, source: str) -> None:
    """Errors: `UserError` naming a tensor that is missing or surplus."""
    found, expected = set(names), tensor_shapes(config)
    if missing := [name for name in expected if name not in found]:
        raise UserError(f"{source}: tensor '{missing[0]}' is missing")
    # Some writers repeat the tied matrix.
    if surplus := found - expected.keys() - {HEAD_NAME}:
        raise UserError(f"{source}: tensor '{min(surplus)}' belongs to no part of this model")


def check_shape(name: str, found: tuple[int, ...], expected: tuple[int, ...], *, source: str) -> None:
    """Errors: `UserError` for a tensor of the wrong shape."""
    if found != expected:
        raise UserError(f"{source}: tensor '{name}' has shape {list(found)}, the config asks for {list(expected)}")


def model_from_tensors(config: ModelConfig, tensors: Mapping[str, np.ndarray], *, source: str) -> Transformer:
    """Build the model in float32; each tensor is looked up once.

    Errors: `UserError` naming a tensor that is missing, surplus or of the wrong shape.
    """
    check_names(config, tensors, source=source)
    shapes = tensor_shapes(config)

    def take(name: str) -> np.ndarray:
        tensor = tensors[name]
        check_shape(name, tensor.shape, shapes[name], source=source)
        return tensor.astype(np.float32)

    def stack(path: Any, _: Any) -> jax.Array:
        return jnp.asarray(np.stack([take(name) for name in _layer_names(_dotted(path), config)]))

    like = _like(config)
    return Transformer(
        jnp.asarray(take(EMBEDDING_NAME)),
        jax.tree_util.tree_map_with_path(stack, like.blocks),
        RMSNorm(jnp.asarray(take(FINAL_NORM_NAME)), config.norm_epsilon),
        config,
    )


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON object for people and programs."""
    path.write_bytes(json_bytes(values))


def json_bytes(values: dict[str, Any]) -> bytes:
    """What `write_json` writes."""
    return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()


def _like(config: ModelConfig) -> Transformer:
    """A model's tree, of shapes only."""
    like: Transformer = eqx.filter_eval_shape(init_transformer, config, jax.random.key(0))
    return like


def _layer_names(path: str, config: ModelConfig) -> list[str]:
    return [f"model.layers.{layer}.{LAYER_NAMES[path]}" for layer in range(config.num_layers)]


def _block_arrays(model: Transformer) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(model.blocks)
    return {_dotted(path): leaf for path, leaf in leaves}


def _dotted(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
