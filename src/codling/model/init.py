"""Random initial weights (AXLearn's: normal, fan-in for linear layers, fan-out for the embedding)."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from codling.model.attention import Attention
from codling.model.block import Block
from codling.model.config import ModelConfig
from codling.model.feed_forward import FeedForward
from codling.model.linear import Linear
from codling.model.norm import RMSNorm
from codling.model.transformer import Transformer


def init_transformer(config: ModelConfig, key: PRNGKeyArray) -> Transformer:
    """A float32 model of the given shape.

    A linear layer [out, in] has standard deviation 1/sqrt(in); the embedding [V, D], as the output layer it
    also is, 1/sqrt(D), so that first logits have unit spread. Norm scales are one.
    """
    embedding_key, blocks_key = jax.random.split(key)
    embedding = jax.random.normal(embedding_key, (config.vocab_size, config.model_dim)) / config.model_dim**0.5
    block_keys = jax.random.split(blocks_key, config.num_layers)
    blocks = eqx.filter_vmap(lambda block_key: _init_block(config, block_key))(block_keys)
    return Transformer(embedding, blocks, _init_norm(config, config.model_dim), config)


def _init_block(config: ModelConfig, key: PRNGKeyArray) -> Block:
    query_dim, kv_dim = config.num_query_heads * config.head_dim, config.num_kv_heads * config.head_dim
    keys = jax.random.split(key, 7)

    def linear(index: int, out_dim: int, in_dim: int) -> Linear:
        weight: Float[Array, "O I"] = jax.random.normal(keys[index], (out_dim, in_dim)) / in_dim**0.5
        return Linear(weight)

    attention = Attention(
        query=linear(0, query_dim, config.model_dim),
        key=linear(1, kv_dim, config.model_dim),
        value=linear(2, kv_dim, config.model_dim),
        output=linear(3, config.model_dim, query_dim),
        query_norm=_init_norm(config, config.head_dim) if config.query_key_norm else None,
        key_norm=_init_norm(config, config.head_dim) if config.query_key_norm else None,
        head_dim=config.head_dim,
    )
    feed_forward = FeedForward(
        gate=linear(4, config.ffn_dim, config.model_dim),
        up=linear(5, config.ffn_dim, config.model_dim),
        down=linear(6, config.model_dim, config.ffn_dim),
    )
    return Block(_init_norm(config, config.model_dim), attention, _init_norm(config, config.model_dim), feed_forward)


def _init_norm(config: ModelConfig, dim: int) -> RMSNorm:
    return RMSNorm(jnp.ones(dim, jnp.float32), config.norm_epsilon)
