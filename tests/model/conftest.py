"""A model small enough to run in milliseconds. Filled by numpy: compiling the real `init` takes seconds."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.model.config import ModelConfig
from codling.model.init import init_transformer
from codling.model.transformer import Transformer


@pytest.fixture(scope="session")
def tiny_config() -> ModelConfig:
    return ModelConfig(
        vocab_size=61,
        model_dim=16,
        ffn_dim=24,
        num_layers=2,
        num_query_heads=4,
        num_kv_heads=2,
        head_dim=8,
        context_length_tokens=64,
    )


@pytest.fixture(scope="session")
def tiny_model(tiny_config: ModelConfig) -> Transformer:
    random = np.random.default_rng(0)

    def fill(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        # Norm scales, too, are away from 1, so that a misplaced one shows.
        return jnp.asarray(random.normal(size=leaf.shape) / leaf.shape[-1] ** 0.5, leaf.dtype)

    model: Transformer = jax.tree.map(fill, eqx.filter_eval_shape(init_transformer, tiny_config, jax.random.key(0)))
    return model
