"""Models of many shapes and types of weights on the engine, against JAX."""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from codling.artifact.hf import EMBEDDING_NAME, config_json, tensor_shapes
from codling.artifact.model_files import load_model
from codling.artifact.tensor_files import write_tensors
from codling.compress.embedding_quant import quantize_embedding
from codling.compress.palettize import palettize
from codling.compress.tensors import Compressed, to_metadata, to_tensors
from codling.engine import _native
from codling.model.config import ModelConfig

FLOAT_TOLERANCE = 2e-5
"""Of logits, relative to the largest: two programs that sum in different orders."""
MAX_DIVERGENCE_NATS = 1e-3
"""KL(JAX || engine) of the next token with activations rounded to int8, on average."""

MAX_KV_DIVERGENCE_NATS = {"bf16": 1e-4, "int8": 1e-3}
"""KL(float32 cache || this type) of the next token, on average: models of random weights."""

COMMON: dict[str, Any] = {"vocab_size": 61, "num_layers": 2, "context_length_tokens": 200}
CONFIGS = {
    "grouped": ModelConfig(**COMMON, model_dim=40, ffn_dim=72, num_query_heads=6, num_kv_heads=2, head_dim=16),
    "one key head": ModelConfig(**COMMON, model_dim=33, ffn_dim=50, num_query_heads=5, num_kv_heads=1, head_dim=6),
    "long heads": ModelConfig(**COMMON, model_dim=24, ffn_dim=130, num_query_heads=2, num_kv_heads=2, head_dim=74),
    "llama": ModelConfig(
        **COMMON, model_dim=144, ffn_dim=257, num_query_heads=4, num_kv_heads=2, head_dim=36, rope_theta=1e4,
        norm_epsilon=1e-6,
        query_key_norm=False,
    ),
}  # fmt: skip
BITS = {"4 bits": 4, "2 bits": 2}
DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}


def write_model(directory: Path, config: ModelConfig, weights: str) -> Path:
    random = np.random.default_rng(0)
    tensors: dict[str, np.ndarray] = {}
    compressed: dict[str, Compressed] = {}
    for name, shape in tensor_shapes(config).items():
        tensor = random.normal(size=shape) / shape[-1] ** 0.5 if len(shape) == 2 else random.uniform(0.5, 1.5, shape)
        if weights in DTYPES:
            tensors[name] = tensor.astype(DTYPES[weights])
        elif len(shape) == 1:
            tensors[name] = tensor.astype(np.float32)
        else:
            wide = tensor.astype(np.float32)
            compressed[name] = quantize_embedding(wide) if name == EMBEDDING_NAME else palettize(wide, BITS[weights])
    for name, matrix in compressed.items():
        tensors |= to_tensors(name, matrix)
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config_json(config, {})))
    write_tensors(directory / "model.safetensors", tensors, to_metadata(compressed) if compressed else {})
    return directory


def open_model(
    directory: Path,
    kernels: str = "",
    *,
    num_threads: int = 1,
    rounds_activations: bool = False,
    kv_type: str = "f32",
    kv_limit_bytes: int = 0,
) -> _native.Model:
    config, weights = (str(directory / name) for name in ("config.json", "model.safetensors"))
    return _native.Model(config, weights, num_threads, kernels, rounds_activations, kv_type, kv_limit_bytes)


def run(model: _native.Model, ids: list[int]) -> np.ndarray:
    """Logits after each token from the tenth on: a prompt, then one token after the other."""
    cache, rows = _native.KvCache(model), []
    rows.append(model.run([_native.Segment(cache, 0, ids[:10], None)])[0])
    for place in range(10, len(ids)):
        rows.append(model.run([_native.Segment(cache, place, ids[place : place + 1], None)])[0])
    return np.stack(rows)


def jax_logits(directory: Path, ids: list[int]) -> np.ndarray:
    model, tokens = load_model(directory), jnp.asarray(ids, jnp.int32)[None]
    positions = jnp.arange(len(ids), dtype=jnp.int32)[None]
    hidden = model(tokens, positions, jnp.ones_like(tokens), rope_theta=model.config.rope_theta)
    logits: np.ndarray = np.asarray(model.logits(hidden))[0]
    return logits


def random_ids(config: ModelConfig, count: int) -> list[int]:
    ids: list[int] = np.random.default_rng(1).integers(0, config.vocab_size, count).tolist()
    return ids


def divergence(logits: np.ndarray, other: np.ndarray) -> float:
    """KL of the softmax of each row, on average."""
    left, right = (rows - np.logaddexp.reduce(rows, axis=1, keepdims=True) for rows in (logits, other))
    return float((np.exp(left) * (left - right)).sum(axis=1).mean())


@pytest.mark.parametrize("weights", [*DTYPES, *BITS])
@pytest.mark.parametrize("shape", CONFIGS)
def test_float_activations_give_what_jax_gives(tmp_path: Path, shape: str, weights: str) -> None:
    config = CONFIGS[shape]
    directory, ids = write_model(tmp_path / "model", config, weights), random_ids(config, 140)
    expected = jax_logits(directory, ids)[9:]
    for kernels in _native.runnable_kernels():
        found = run(open_model(directory, kernels), ids)
        np.testing.assert_allclose(found, expected, rtol=0, atol=FLOAT_TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize("weights", list(BITS))
@pytest.mark.parametrize("shape", CONFIGS)
def test_rounded_activations_stay_near(tmp_path: Path, shape: str, weights: str) -> None:
    config = CONFIGS[shape]
    directory, ids = write_model(tmp_path / "model", config, weights), random_ids(config, 140)
    exact = run(open_model(directory), ids)
    for kernels in _native.runnable_kernels():
        found = run(open_model(directory, kernels, rounds_activations=True), ids)
        assert 0 < divergence(exact, found) < MAX_DIVERGENCE_NATS


@pytest.mark.parametrize("kv_type", MAX_KV_DIVERGENCE_NATS)
@pytest.mark.parametrize("shape", CONFIGS)
def test_small_keys_and_values_stay_near(tmp_path: Path, shape: str, kv_type: str) -> None:
    config = CONFIGS[shape]
    directory, ids = write_model(tmp_path / "model", config, "BF16"), random_ids(config, 140)
    exact = run(open_model(directory), ids)
    for kernels in _native.runnable_kernels():
        found = run(open_model(directory, kernels, kv_type=kv_type), ids)
        assert 0 < divergence(exact, found) < MAX_KV_DIVERGENCE_NATS[kv_type]


@pytest.mark.parametrize("kv_type", ["f32", "bf16", "int8"])
@pytest.mark.parametrize("rounds_activations", [False, True])
def test_prompts_of_any_length_give_what_single_tokens_give(
    tmp_path: Path, rounds_activations: bool, kv_type: str
) -> None:
    config = CONFIGS["grouped"]
    directory, ids = write_model(tmp_path / "model", config, "4 bits"), random_ids(config, 140)
    for kernels in _native.runnable_kernels():
        model = open_model(directory, kernels, rounds_activations=rounds_activations, kv_type=kv_type)
        single = run(model, ids)
        for length in (10, 11, 24, 33, 64, 65, 97, 129, 140):
            together = model.run([_native.Segment(_native.KvCache(model), 0, ids[:length], None)])
            np.testing.assert_array_equal(together[0], single[length - 10])


def test_logits_after_several_tokens_are_those_of_each_alone(tmp_path: Path) -> None:
    config = CONFIGS["grouped"]
    model, ids = open_model(write_model(tmp_path / "model", config, "4 bits")), random_ids(config, 140)
    single, caches = run(model, ids), [_native.KvCache(model) for _ in range(4)]
    parts = [(140, 131), (70, 1), (33, 0), (50, 7)]
    segments = [
        _native.Segment(cache, 0, ids[:length], None, num_logits)
        for cache, (length, num_logits) in zip(caches, parts, strict=True)
    ]
    expected = [single[length - 9 - num_logits : length - 9] for length, num_logits in parts]
    np.testing.assert_array_equal(model.run(segments), np.concatenate(expected))
    assert model.run([_native.Segment(caches[0], 9, ids[9:20], None, 0)]).shape == (0, config.vocab_size)


def test_threads_change_nothing(tmp_path: Path) -> None:
    config = CONFIGS["llama"]
    directory, ids = write_model(tmp_path / "model", config, "4 bits"), random_ids(config, 100)
    one, *others = (
        run(open_model(directory, num_threads=count, rounds_activations=True, kv_type="int8"), ids)
        for count in (1, 2, 3)
    )
    for other in others:
        np.testing.assert_array_equal(other, one)
