"""A model and a batch small enough for milliseconds, filled by numpy: compiling the real `init` takes seconds."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.data.loader import Batch
from codling.model.config import ModelConfig
from codling.model.init import init_transformer
from codling.model.transformer import Transformer


@pytest.fixture(scope="session")
def tiny_model() -> Transformer:
    config = ModelConfig(
        vocab_size=61,
        model_dim=16,
        ffn_dim=24,
        num_layers=2,
        num_query_heads=4,
        num_kv_heads=2,
        head_dim=8,
        context_length_tokens=64,
    )
    random = np.random.default_rng(0)
    model: Transformer = jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(size=leaf.shape) / leaf.shape[-1] ** 0.5, leaf.dtype),
        eqx.filter_eval_shape(init_transformer, config, jax.random.key(0)),
    )
    return model


@pytest.fixture(scope="session")
def batch() -> Batch:
    """Four rows of two documents; the later rows have ever fewer positions to learn from."""
    random, shape = np.random.default_rng(1), (4, 10)
    tokens = random.integers(0, 61, size=(4, 11)).astype(np.int32)
    places = np.tile(np.arange(10, dtype=np.int32), (4, 1))
    weights = (places >= 3 * np.arange(4)[:, None]).astype(np.float32)
    segments = np.where(places < 6, 1, 2).astype(np.int32)
    assert weights.shape == shape
    return Batch(tokens[:, :-1], tokens[:, 1:], weights, segments, (places % 6).astype(np.int32))
