"""The rules of `config.json` exist twice, in Python and in the engine: both must accept and refuse the same files."""

import json
from pathlib import Path
from typing import Any

import pytest

from codling.artifact.hf import config_json, model_config, read_json
from codling.engine import _native
from codling.errors import UserError
from codling.model.config import ModelConfig

QWEN = config_json(
    ModelConfig(
        vocab_size=11, model_dim=8, ffn_dim=12, num_layers=2, num_query_heads=4, num_kv_heads=2, head_dim=6,
        context_length_tokens=32,
    ),
    {"bos": 1, "eos": [2, 3]},
)  # fmt: skip
LLAMA: dict[str, Any] = QWEN | {"model_type": "llama"}
MISSING = object()
"""A key that is left out."""

GOOD: list[dict[str, Any]] = [
    {},
    {"rope_theta": 10000},
    {"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}, "rope_theta": MISSING},
    {"rope_parameters": {"rope_theta": 5e5, "rope_type": None, "type": "default"}},
    {"rope_parameters": None, "rope_scaling": {"type": "default"}},
    {"rope_parameters": {}, "rope_scaling": {"rope_theta": 100.0}, "rope_theta": MISSING},
    {"hidden_act": None, "attention_bias": MISSING, "mlp_bias": None, "partial_rotary_factor": 1},
    {"use_sliding_window": False, "partial_rotary_factor": 1.0},
    {"something_new": [1, {"a": None}]},
    {"rms_norm_eps": 1},
]
BAD: list[dict[str, Any]] = [
    {"model_type": "gemma"},
    {"model_type": MISSING},
    {"model_type": ["qwen3"]},
    {"tie_word_embeddings": False},
    {"tie_word_embeddings": MISSING},
    {"tie_word_embeddings": 1},
    {"tie_word_embeddings": "yes"},
    {"hidden_act": "gelu"},
    {"hidden_act": 3},
    {"attention_bias": True},
    {"attention_bias": 0},
    {"mlp_bias": True},
    {"use_sliding_window": True},
    {"partial_rotary_factor": 0.5},
    {"partial_rotary_factor": True},
    {"rope_scaling": {"rope_type": "yarn"}},
    {"rope_scaling": {"type": "linear"}},
    {"rope_scaling": {"rope_type": 3}},
    {"rope_scaling": {"rope_type": "yarn"}, "rope_parameters": {"rope_type": "default"}},
    {"rope_scaling": False},
    {"rope_scaling": []},
    {"rope_scaling": "linear"},
    {"rope_parameters": 0},
    {"rope_theta": MISSING},
    {"rope_theta": None},
    {"rope_theta": "10000"},
    {"rope_theta": 0},
    {"rope_theta": -1.5},
    {"rope_theta": True},
    {"rope_parameters": {"rope_theta": [1]}},
    {"vocab_size": MISSING},
    {"vocab_size": None},
    {"vocab_size": 0},
    {"vocab_size": -3},
    {"vocab_size": 11.0},
    {"vocab_size": 10.5},
    {"vocab_size": "11"},
    {"vocab_size": True},
    {"vocab_size": [11]},
    {"hidden_size": MISSING},
    {"intermediate_size": 0},
    {"num_hidden_layers": 0},
    {"num_hidden_layers": MISSING},
    {"num_attention_heads": 0},
    {"num_attention_heads": "4"},
    {"num_attention_heads": MISSING},
    {"num_attention_heads": 5},
    {"num_key_value_heads": 3},
    {"num_key_value_heads": 0},
    {"head_dim": 5},
    {"head_dim": 0},
    {"max_position_embeddings": MISSING},
    {"rms_norm_eps": MISSING},
    {"rms_norm_eps": 0},
    {"rms_norm_eps": -1e-5},
    {"rms_norm_eps": "small"},
]
DEFAULTS_OF_LLAMA: list[dict[str, Any]] = [
    {"num_key_value_heads": MISSING},
    {"num_key_value_heads": None, "head_dim": None},
    {"head_dim": MISSING},
]
ODD_DEFAULTS_OF_LLAMA: list[dict[str, Any]] = [
    {"head_dim": MISSING, "hidden_size": 12},
    {"head_dim": MISSING, "hidden_size": 3},
]


def changed(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in (values | changes).items() if value is not MISSING}


def python_accepts(path: Path) -> bool:
    try:
        model_config(read_json(path), source="config.json")
    except UserError:
        return False
    return True


def engine_accepts(path: Path) -> bool:
    """The weights are looked for after the config has been read, and are not there."""
    weights = path.with_name("model.safetensors")
    with pytest.raises(UserError) as raised:
        _native.Model(str(path), str(weights), 1, "", True)
    assert str(raised.value).startswith((str(path), str(weights)))
    return str(raised.value).startswith(str(weights))


CASES = [
    *[(kind, changes, True) for kind in ("qwen3", "llama") for changes in GOOD],
    *[(kind, changes, False) for kind in ("qwen3", "llama") for changes in BAD],
    *[(kind, changes, kind == "llama") for kind in ("qwen3", "llama") for changes in DEFAULTS_OF_LLAMA],
    *[(kind, changes, False) for kind in ("qwen3", "llama") for changes in ODD_DEFAULTS_OF_LLAMA],
]


def test_both_accept_and_refuse_the_same(tmp_path: Path) -> None:
    path, verdicts = tmp_path / "config.json", []
    for kind, changes, _ in CASES:
        path.write_text(json.dumps(changed(QWEN if kind == "qwen3" else LLAMA, changes)))
        verdicts.append((kind, changes, (python_accepts(path), engine_accepts(path))))
    assert verdicts == [(kind, changes, (accepted, accepted)) for kind, changes, accepted in CASES]
