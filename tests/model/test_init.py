import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.model.config import ModelConfig
from codling.model.init import init_transformer
from codling.model.transformer import Transformer

SPREAD_TOLERANCE = 0.05
"""Of a standard deviation that is estimated from some thousand values."""


@pytest.fixture(scope="module")
def config(tiny_config: ModelConfig) -> ModelConfig:
    return dataclasses.replace(tiny_config, vocab_size=200, model_dim=64, ffn_dim=96)


@pytest.fixture(scope="module")
def model(config: ModelConfig) -> Transformer:
    return init(config, 0)


@eqx.filter_jit
def init(config: ModelConfig, seed: int | jax.Array) -> Transformer:
    return init_transformer(config, jax.random.key(seed))


def test_linear_layers_spread_by_fan_in_and_the_embedding_by_its_width(model: Transformer) -> None:
    attention, feed_forward = model.blocks.attention, model.blocks.feed_forward
    linear = (attention.query, attention.key, attention.value, attention.output)
    for layer in (*linear, feed_forward.gate, feed_forward.up, feed_forward.down):
        fan_in = layer.weight.shape[-1]
        assert np.std(layer.weight) == pytest.approx(fan_in**-0.5, rel=SPREAD_TOLERANCE)
        assert abs(np.mean(layer.weight)) < 3 * fan_in**-0.5 / layer.weight.size**0.5
    assert np.std(model.embedding) == pytest.approx(model.config.model_dim**-0.5, rel=SPREAD_TOLERANCE)


def test_norm_scales_are_one_and_everything_is_float32(model: Transformer) -> None:
    attention, blocks = model.blocks.attention, model.blocks
    assert attention.query_norm is not None
    assert attention.key_norm is not None
    norms = (blocks.attention_norm, blocks.feed_forward_norm, attention.query_norm, attention.key_norm)
    for norm in (*norms, model.final_norm):
        np.testing.assert_array_equal(norm.scale, np.ones(norm.scale.shape))
    assert {leaf.dtype for leaf in jax.tree.leaves(model)} == {np.dtype(np.float32)}


def test_no_two_matrices_and_no_two_layers_are_alike(model: Transformer) -> None:
    matrices = [leaf[layer] for leaf in jax.tree.leaves(model.blocks) if leaf.ndim == 3 for layer in range(2)]
    firsts = {float(matrix[0, 0]) for matrix in matrices}
    assert len(firsts) == len(matrices) == 2 * 7


def test_a_key_gives_one_model_and_another_key_another(config: ModelConfig, model: Transformer) -> None:
    again, other = init(config, jnp.asarray(0)), init(config, jnp.asarray(1))
    assert eqx.tree_equal(again, model)
    assert not np.array_equal(other.embedding, model.embedding)


def test_without_query_key_norm_there_is_none(config: ModelConfig) -> None:
    plain = dataclasses.replace(config, query_key_norm=False)
    model = eqx.filter_eval_shape(init_transformer, plain, jax.random.key(0))
    assert model.blocks.attention.query_norm is None
    assert model.blocks.attention.key_norm is None
