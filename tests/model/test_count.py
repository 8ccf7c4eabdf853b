import dataclasses

import equinox as eqx
import jax
import pytest

from codling.model.config import SIZES, ModelConfig, named_size
from codling.model.count import count_parameters, kv_cache_bytes_per_token, training_flops_per_token
from codling.model.init import init_transformer

BILLION = 10**9


@pytest.mark.parametrize("query_key_norm", [True, False])
@pytest.mark.parametrize("name", SIZES)
def test_counts_are_the_sizes_of_the_real_arrays(name: str, query_key_norm: bool) -> None:
    config = dataclasses.replace(named_size(name), query_key_norm=query_key_norm)
    model = eqx.filter_eval_shape(init_transformer, config, jax.random.key(0))
    count = count_parameters(config)
    assert count.embedding == model.embedding.size
    assert count.total == sum(leaf.size for leaf in jax.tree.leaves(model))


def test_the_device_model_has_the_published_counts() -> None:
    config = named_size("device_3b")
    count = count_parameters(config)
    assert round(count.non_embedding / BILLION, 3) == 2.587
    assert round(count.embedding / BILLION, 4) == 0.1510
    # The fourth digit, 2.5866, is that of the matrices; norm scales add 0.0002.
    norms = config.num_layers * 2 * (config.model_dim + config.head_dim) + config.model_dim
    assert round((count.non_embedding - norms) / BILLION, 4) == 2.5866


def test_the_device_cache_has_the_published_size() -> None:
    assert kv_cache_bytes_per_token(named_size("device_3b"), bytes_per_value=2) == 104 * 1024


def test_the_parent_has_the_published_count() -> None:
    assert round(count_parameters(named_size("device_parent_6b")).total / BILLION, 1) == 6.4


def test_flops_are_those_of_the_products_one_by_one(tiny_config: ModelConfig) -> None:
    length = 10
    config = dataclasses.replace(tiny_config, query_key_norm=False)
    query_dim, kv_dim = config.num_query_heads * config.head_dim, config.num_kv_heads * config.head_dim
    products = [(config.model_dim, query_dim)] * 2 + [(config.model_dim, kv_dim)] * 2
    products += [(config.model_dim, config.ffn_dim)] * 3
    products += [(query_dim, length // 2)] * 2  # scores and weighted sum, half of the square
    per_layer = sum(2 * rows * columns for rows, columns in products)
    forward = config.num_layers * per_layer + 2 * config.model_dim * config.vocab_size
    norms = (2 * config.num_layers + 1) * config.model_dim  # counted along
    assert training_flops_per_token(config, length) == 3 * (forward + 2 * norms)
