"""A model and rows of tokens that mean nothing, small enough for milliseconds."""

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
def small_model() -> Transformer:
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

    def fill(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        return jnp.asarray(random.normal(size=leaf.shape) / leaf.shape[-1] ** 0.5, leaf.dtype)

    model: Transformer = jax.tree.map(fill, eqx.filter_eval_shape(init_transformer, config, jax.random.key(0)))
    return model


@pytest.fixture(scope="session")
def small_batch() -> Batch:
    """Two rows of 12 tokens: two documents and padding, one document."""
    random = np.random.default_rng(1)
    segment_ids = np.asarray([[1] * 5 + [2] * 4 + [0] * 3, [1] * 12], np.int32)
    positions = np.asarray([[*range(5), *range(4), 0, 0, 0], [*range(12)]], np.int32)
    tokens, targets = random.integers(0, 61, size=(2, 2, 12)).astype(np.int32)
    return Batch(
        tokens=tokens,
        targets=targets,
        loss_weights=(segment_ids > 0).astype(np.float32),
        positions=positions,
        segment_ids=segment_ids,
    )
