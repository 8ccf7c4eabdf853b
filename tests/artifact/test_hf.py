import dataclasses
import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from codling.artifact.hf import (
    EMBEDDING_NAME,
    config_json,
    model_config,
    model_from_tensors,
    model_tensors,
    read_json,
    tensor_shapes,
    write_json,
)
from codling.artifact.tensor_files import read_tensors, write_tensors
from codling.errors import UserError
from codling.model.config import ModelConfig
from codling.model.init import init_transformer
from codling.model.transformer import Transformer

CONFIG = ModelConfig(
    vocab_size=11,
    model_dim=8,
    ffn_dim=12,
    num_layers=2,
    num_query_heads=4,
    num_kv_heads=2,
    head_dim=6,
    context_length_tokens=32,
    rope_theta=1234.5,
    norm_epsilon=1e-6,
)
CONFIGS = {"qwen3": CONFIG, "llama": dataclasses.replace(CONFIG, query_key_norm=False)}
SPECIAL_IDS = {"bos": 1, "eos": 2, "pad": 0}
SOURCE = "here"


def make_model(config: ModelConfig) -> Transformer:
    """Every value is another one, so that no mix-up goes unseen."""
    like = eqx.filter_eval_shape(init_transformer, config, jax.random.key(0))
    random = np.random.default_rng(0)
    model: Transformer = jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape), jnp.float32), like)
    return model


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_model_survives_a_round_trip_through_files(tmp_path: Path, kind: str) -> None:
    model = make_model(CONFIGS[kind])
    write_json(tmp_path / "config.json", config_json(model.config, SPECIAL_IDS))
    write_tensors(tmp_path / "model.safetensors", model_tensors(model), {"codling": "yes"})
    config = model_config(read_json(tmp_path / "config.json"), source=SOURCE)
    tensors, metadata = read_tensors(tmp_path / "model.safetensors")
    assert config == model.config
    assert metadata["codling"] == "yes"
    assert eqx.tree_equal(model_from_tensors(config, tensors, source=SOURCE), model)


def test_names_and_layout_are_those_of_transformers() -> None:
    model = make_model(CONFIG)
    tensors = model_tensors(model)
    layer = (
        "input_layernorm self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj self_attn.q_norm "
        "self_attn.k_norm post_attention_layernorm mlp.gate_proj mlp.up_proj mlp.down_proj"
    )
    expected = {f"model.layers.{i}.{name}.weight" for i in range(CONFIG.num_layers) for name in layer.split()}
    assert set(tensors) == expected | {"model.embed_tokens.weight", "model.norm.weight"}
    down = tensors["model.layers.1.mlp.down_proj.weight"]
    assert down.shape == (CONFIG.model_dim, CONFIG.ffn_dim)
    np.testing.assert_array_equal(down, model.blocks.feed_forward.down.weight[1])


@pytest.mark.parametrize(("kind", "architecture"), [("qwen3", "Qwen3ForCausalLM"), ("llama", "LlamaForCausalLM")])
def test_the_norm_of_queries_and_keys_decides_the_architecture(kind: str, architecture: str) -> None:
    values = config_json(CONFIGS[kind], SPECIAL_IDS)
    assert (values["model_type"], values["architectures"]) == (kind, [architecture])
    assert values["rms_norm_eps"] == CONFIG.norm_epsilon
    assert [values[f"{name}_token_id"] for name in ("bos", "eos", "pad")] == [1, 2, 0]


def test_public_checkpoints_are_read_with_bfloat16_a_repeated_head_and_newer_rope_keys(tmp_path: Path) -> None:
    model = make_model(CONFIG)
    tensors = {name: tensor.astype(ml_dtypes.bfloat16) for name, tensor in model_tensors(model).items()}
    save_file(tensors | {"lm_head.weight": tensors[EMBEDDING_NAME].copy()}, tmp_path / "model.safetensors")
    values = config_json(CONFIG, SPECIAL_IDS)
    values["rope_parameters"] = {"rope_theta": values.pop("rope_theta"), "rope_type": "default"}
    config = model_config(values, source=SOURCE)
    read = model_from_tensors(config, read_tensors(tmp_path / "model.safetensors")[0], source=SOURCE)
    assert config == CONFIG
    assert read.embedding.dtype == jnp.float32
    np.testing.assert_allclose(read.embedding, model.embedding, rtol=2**-8)


@pytest.mark.parametrize(
    ("name", "replacement", "message"),
    [
        ("model.norm.weight", None, "here: tensor 'model.norm.weight' is missing"),
        ("model.layers.1.mlp.up_proj.weight", None, r"'model.layers.1.mlp.up_proj.weight' is missing"),
        ("model.layers.2.mlp.up_proj.weight", (12, 8), r"'model.layers.2.mlp.up_proj.weight' belongs to no part"),
        ("model.layers.0.self_attn.q_proj.bias", (24,), "q_proj.bias' belongs to no part of this model"),
        (EMBEDDING_NAME, (8, 11), r"has shape \[8, 11\], the config asks for \[11, 8\]"),
        ("model.layers.0.self_attn.k_norm.weight", (8,), r"k_norm.weight' has shape \[8\]"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(name: str, replacement: tuple[int, ...] | None, message: str) -> None:
    tensors = model_tensors(make_model(CONFIG))
    if replacement is None:
        del tensors[name]
    else:
        tensors[name] = np.zeros(replacement, np.float32)
    with pytest.raises(UserError, match=message):
        model_from_tensors(CONFIG, tensors, source=SOURCE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2"}, "here: model_type 'gpt2' is not one of qwen3, llama"),
        ({"tie_word_embeddings": False}, "must be one matrix"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "RoPE scaling of type 'yarn'"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "RoPE scaling of type 'linear'"),
        ({"hidden_size": None}, "key 'hidden_size' is missing"),
        ({"rope_theta": None}, "rope_theta"),
        ({"num_key_value_heads": 3}, "num_kv_heads 3"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu' is not supported, only 'silu'"),
        ({"attention_bias": True}, "attention_bias"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"rope_parameters": "default"}, "RoPE parameters 'default' are no JSON object"),
    ],
)
def test_other_models_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        model_config(config_json(CONFIG, SPECIAL_IDS) | changes, source=SOURCE)


def test_what_older_llama_files_leave_out_has_its_old_meaning() -> None:
    values = config_json(dataclasses.replace(CONFIGS["llama"], num_kv_heads=4, head_dim=2), SPECIAL_IDS)
    older = {key: value for key, value in values.items() if key not in ("num_key_value_heads", "head_dim")}
    assert model_config(older, source=SOURCE) == model_config(values, source=SOURCE)


def test_shapes_are_those_of_the_tensors() -> None:
    expected = {name: tensor.shape for name, tensor in model_tensors(make_model(CONFIG)).items()}
    assert tensor_shapes(CONFIG) == expected


def test_the_stored_type_and_several_ends_of_text_are_named() -> None:
    values = config_json(CONFIG, {"eos": [1, 2]}, "bfloat16")
    assert (values["torch_dtype"], values["eos_token_id"]) == ("bfloat16", [1, 2])
    assert "bos_token_id" not in values


def test_a_config_without_a_key_is_refused() -> None:
    values = config_json(CONFIG, SPECIAL_IDS)
    del values["num_hidden_layers"]
    with pytest.raises(UserError, match="here: key 'num_hidden_layers' is missing"):
        model_config(values, source=SOURCE)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config.json: no such file"):
        read_json(tmp_path / "config.json")


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[1]"])
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"config.json: not (JSON|a JSON object)"):
        read_json(tmp_path / "config.json")


def test_json_is_written_for_people(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "Äpfel", "size": 1})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "name": "Äpfel",\n  "size": 1\n}\n'
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == read_json(tmp_path / "a.json")
