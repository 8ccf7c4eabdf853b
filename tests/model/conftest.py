"""A model small enough to run in milliseconds, with norm scales away from 1, so that a misplaced one shows."""

import equinox as eqx
import jax
import pytest

from codling.model.config import ModelConfig
from codling.model.init import init_transformer
from codling.model.norm import RMSNorm
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
    def jitter(node: object) -> object:
        if not isinstance(node, RMSNorm):
            return node
        noise = jax.random.uniform(jax.random.key(1), node.scale.shape, minval=0.5, maxval=1.5)
        return eqx.tree_at(lambda norm: norm.scale, node, node.scale * noise)

    model = eqx.filter_jit(init_transformer)(tiny_config, jax.random.key(0))
    jittered: Transformer = jax.tree.map(jitter, model, is_leaf=lambda node: isinstance(node, RMSNorm))
    return jittered
