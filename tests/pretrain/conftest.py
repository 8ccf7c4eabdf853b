"""A small model with random weights, and rows for it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.data.pack import Row
from codling.model.config import ModelConfig
from codling.model.init import init_transformer
from codling.model.transformer import Transformer

CONFIG = ModelConfig(
    vocab_size=40,
    model_dim=16,
    ffn_dim=12,
    num_layers=2,
    num_query_heads=2,
    num_kv_heads=1,
    head_dim=8,
    context_length_tokens=32,
)


@pytest.fixture
def parent() -> Transformer:
    """Filled by numpy: compiling the real `init` takes seconds."""
    random = np.random.default_rng(0)
    like = eqx.filter_eval_shape(init_transformer, CONFIG, jax.random.key(0))
    model: Transformer = jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape) / 4, jnp.float32), like)
    return model


@pytest.fixture
def batch() -> Row:
    """Two rows, the second half padding."""
    tokens = np.random.default_rng(0).integers(0, CONFIG.vocab_size, (2, 10)).astype(np.int32)
    is_text = np.ones_like(tokens)
    is_text[1, 5:] = 0
    positions = np.broadcast_to(np.arange(10, dtype=np.int32), tokens.shape)
    return Row(tokens, np.roll(tokens, -1, axis=1), is_text.astype(np.float32), is_text, positions)
