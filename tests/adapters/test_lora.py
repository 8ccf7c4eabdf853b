from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.adapters.lora import LoraLinear, attach, merge, split
from codling.errors import UserError
from codling.model.config import ModelConfig
from codling.model.init import init_transformer
from codling.model.linear import Linear
from codling.model.palettized_linear import PalettizedLinear
from codling.model.transformer import Transformer

LINEAR_LAYERS = 7
TOKENS = np.random.default_rng(0).integers(0, 13, size=(2, 6))


def make_model(seed: int) -> Transformer:
    config = ModelConfig(
        vocab_size=13,
        model_dim=8,
        ffn_dim=12,
        num_layers=2,
        num_query_heads=4,
        num_kv_heads=2,
        head_dim=4,
        context_length_tokens=32,
    )
    random = np.random.default_rng(seed)
    like = eqx.filter_eval_shape(init_transformer, config, jax.random.key(0))
    model: Transformer = jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape), jnp.float32), like)
    return model


MODEL = make_model(0)


@eqx.filter_jit
def run(model: Transformer) -> jax.Array:
    positions = jnp.broadcast_to(jnp.arange(6)[None], (2, 6))
    return model(jnp.asarray(TOKENS), positions, jnp.ones((2, 6), jnp.int32), rope_theta=500_000.0)


def linear_layers(model: Transformer, kind: type = Linear) -> list[Any]:
    leaves = jax.tree.leaves(model, is_leaf=lambda node: isinstance(node, kind))
    return [leaf for leaf in leaves if isinstance(leaf, kind)]


@pytest.fixture(scope="module")
def adapted() -> Transformer:
    """A model whose adapters do something."""
    model = attach(MODEL, 3, jax.random.key(0))
    random = np.random.default_rng(2)

    def stir(node: Any) -> Any:
        if not isinstance(node, LoraLinear):
            return node
        return LoraLinear(node.base, node.down, jnp.asarray(random.normal(size=node.up.shape), jnp.float32))

    stirred: Transformer = jax.tree.map(stir, model, is_leaf=lambda node: isinstance(node, LoraLinear))
    return stirred


def test_a_fresh_adapter_changes_nothing_and_can_learn() -> None:
    fresh = attach(MODEL, 3, jax.random.key(0))
    np.testing.assert_allclose(run(fresh), run(MODEL), rtol=1e-4, atol=1e-5)
    layers = linear_layers(fresh, LoraLinear)
    assert len(layers) == LINEAR_LAYERS
    assert not any(layer.up.any() for layer in layers)
    assert all(layer.down.all() for layer in layers)


def test_each_layer_draws_its_own_start_and_the_key_decides() -> None:
    def starts(seed: int) -> list[float]:
        layers = linear_layers(attach(MODEL, 1, jax.random.key(seed)), LoraLinear)
        return [float(layer.down[place, 0, 0]) for layer in layers for place in range(2)]

    assert len(set(starts(0))) == 2 * LINEAR_LAYERS
    assert starts(0) == starts(0)
    assert not set(starts(0)) & set(starts(1))


def test_merged_adapters_act_as_the_adapters_did(adapted: Transformer) -> None:
    assert np.abs(np.asarray(run(adapted) - run(MODEL))).max() > 0.1
    merged = merge(adapted)
    assert str(jax.tree.structure(merged)) == str(jax.tree.structure(MODEL))
    np.testing.assert_allclose(run(merged), run(adapted), rtol=1e-3, atol=1e-3)


def test_split_takes_the_adapter_and_combine_puts_it_back(adapted: Transformer) -> None:
    adapter, base = split(adapted)
    assert eqx.tree_equal(eqx.combine(adapter, base), adapted)
    assert sum(leaf.size for leaf in jax.tree.leaves(adapter)) == sum(
        layer.down.size + layer.up.size for layer in linear_layers(adapted, LoraLinear)
    )
    assert {leaf.shape for leaf in jax.tree.leaves(base)} == {leaf.shape for leaf in jax.tree.leaves(MODEL)}
    assert len(jax.tree.leaves(base)) == len(jax.tree.leaves(MODEL))


def test_tables_train_where_the_base_has_some(adapted: Transformer) -> None:
    tables = jnp.ones((2, 1, 4))
    query: Any = adapted.blocks.attention.query
    indices = jnp.zeros(query.base.weight.shape, jnp.uint8)
    scales = jnp.ones(indices.shape[:2])
    base = PalettizedLinear(indices, tables, scales, jnp.zeros_like(tables), jnp.zeros_like(scales), 16)
    palettized = eqx.tree_at(lambda model: model.blocks.attention.query.base, adapted, base)
    for with_tables, extra in ((False, 0), (True, tables.size + scales.size)):
        trained, rest = split(palettized, with_tables=with_tables)
        expected = sum(layer.down.size + layer.up.size for layer in linear_layers(adapted, LoraLinear)) + extra
        assert sum(leaf.size for leaf in jax.tree.leaves(trained)) == expected
        assert eqx.tree_equal(eqx.combine(trained, rest), palettized)
    merged = merge(palettized).blocks.attention.query.weight
    np.testing.assert_allclose(merged, 1.0 + query.up @ query.down, rtol=1e-4, atol=1e-4)


def test_equals_the_formula(adapted: Transformer) -> None:
    layer = jax.tree.map(lambda leaf: np.asarray(leaf[1]), adapted.blocks.feed_forward.down)
    x = np.random.default_rng(3).normal(size=(5, 12)).astype(np.float32)
    expected = x @ (layer.base.weight + layer.up @ layer.down).T
    actual = jax.tree.map(jnp.asarray, layer)(jnp.asarray(x))
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("rank", [0, -1, 9])
def test_a_rank_that_fits_no_layer_is_refused(rank: int) -> None:
    with pytest.raises(UserError, match=f"adapter rank {rank} does not fit a layer of"):
        attach(MODEL, rank, jax.random.key(0))
