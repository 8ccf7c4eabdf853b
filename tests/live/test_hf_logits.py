"""The exported model in transformers gives our logits. Needs torch (extra `compare`): `pytest -m live`."""

import dataclasses
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.artifact.hf import config_json, model_tensors, write_json
from codling.artifact.tensor_files import write_tensors
from codling.model.config import ModelConfig
from codling.model.init import init_transformer
from codling.model.transformer import Transformer

pytestmark = [pytest.mark.live, pytest.mark.filterwarnings("default")]

TOLERANCE = 1e-4
CONTEXT_LENGTH = 64
CONFIG = ModelConfig(
    vocab_size=97,
    model_dim=48,
    ffn_dim=80,
    num_layers=3,
    num_query_heads=6,
    num_kv_heads=2,
    head_dim=16,
    context_length_tokens=CONTEXT_LENGTH,
    rope_theta=12_345.0,
)
CONFIGS = {"qwen3": CONFIG, "llama": dataclasses.replace(CONFIG, query_key_norm=False)}
PAD_ID = 0


@pytest.fixture(scope="module", params=CONFIGS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Transformer, Any]:
    """Our model, and its export read by transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    random = np.random.default_rng(0)
    like = eqx.filter_eval_shape(init_transformer, CONFIGS[request.param], jax.random.key(0))
    # Norm scales, too, are random, so that a mix-up shows; the embedding makes logits of a real model's size.
    model: Transformer = jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(size=leaf.shape) * 3 / leaf.shape[-1] ** 0.5, leaf.dtype), like
    )
    directory: Path = tmp_path_factory.mktemp(request.param)
    write_json(directory / "config.json", config_json(model.config, {"bos": 1, "eos": 2, "pad": PAD_ID}))
    write_tensors(directory / "model.safetensors", model_tensors(model), {})
    theirs, problems = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    assert not any(problems.values()), problems
    assert type(theirs).__name__ == config_json(model.config, {})["architectures"][0]
    return model, theirs.eval()


@eqx.filter_jit
def our_logits(model: Transformer, tokens: np.ndarray, segment_ids: np.ndarray) -> jax.Array:
    positions = jnp.maximum(jnp.cumsum(jnp.asarray(segment_ids), axis=1) - 1, 0)
    hidden = model(jnp.asarray(tokens), positions, jnp.asarray(segment_ids), rope_theta=model.config.rope_theta)
    return model.logits(hidden)


def their_logits(model: Any, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
    import torch

    positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
    with torch.no_grad():
        output = model(
            input_ids=torch.tensor(tokens),
            attention_mask=torch.tensor(mask),
            position_ids=torch.tensor(positions),
        )
    logits: np.ndarray = output.logits.numpy()
    return logits


@pytest.mark.parametrize("padding", ["none", "right", "left"])
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("length", [1, 7, CONTEXT_LENGTH])
def test_logits_are_ours(pair: tuple[Transformer, Any], length: int, batch_size: int, padding: str) -> None:
    model, theirs = pair
    tokens = np.random.default_rng(length).integers(1, CONFIG.vocab_size, size=(batch_size, length))
    # Row b has b * length / 4 padded places.
    num_padded = 0 if padding == "none" else np.arange(batch_size)[:, None] * length // 4
    places = np.arange(length)[None] if padding != "right" else np.arange(length)[None, ::-1]
    mask = np.broadcast_to(places >= num_padded, tokens.shape).astype(np.int32)
    tokens = np.where(mask, tokens, PAD_ID)
    ours = np.asarray(our_logits(model, tokens, mask))
    difference = np.abs(ours - their_logits(theirs, tokens, mask.astype(np.int64)))[mask == 1].max()
    assert np.abs(ours).max() > 1
    assert difference <= TOLERANCE
