"""Parameters, bytes and floating-point operations of a model, from its shape alone."""

from typing import NamedTuple

from codling.model.config import ModelConfig


class ParameterCount(NamedTuple):
    """Parameters of a model; the shared embedding is counted once."""

    embedding: int
    non_embedding: int

    @property
    def total(self) -> int:
        """All parameters."""
        return self.embedding + self.non_embedding


def count_parameters(config: ModelConfig) -> ParameterCount:
    """Count by part: attention, SwiGLU, norms, embedding."""
    query_dim, kv_dim = config.num_query_heads * config.head_dim, config.num_kv_heads * config.head_dim
    attention = config.model_dim * (2 * query_dim + 2 * kv_dim)
    feed_forward = 3 * config.model_dim * config.ffn_dim
    norms = 2 * config.model_dim + (2 * config.head_dim if config.query_key_norm else 0)
    layers = config.num_layers * (attention + feed_forward + norms)
    return ParameterCount(config.vocab_size * config.model_dim, layers + config.model_dim)


def kv_cache_bytes_per_token(config: ModelConfig, bytes_per_value: int) -> int:
    """Keys and values of one token in all layers."""
    return 2 * config.num_layers * config.num_kv_heads * config.head_dim * bytes_per_value


def training_flops_per_token(config: ModelConfig, sequence_length_tokens: int) -> int:
    """Operations (a multiply-add is two) of forward and backward for one token; causal attention counts half.

    Six per matrix parameter (two forward, four backward), where the embedding counts once, as the output
    layer.
    """
    count = count_parameters(config)
    query_dim = config.num_query_heads * config.head_dim
    attention = 2 * 6 * config.num_layers * query_dim * sequence_length_tokens // 2
    return 6 * count.total + attention
