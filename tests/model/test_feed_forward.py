import jax
import jax.numpy as jnp
import numpy as np

from codling.model.feed_forward import FeedForward
from codling.model.linear import Linear

MODEL_DIM, FFN_DIM = 6, 10
TOLERANCE = 1e-5


def make_layer() -> FeedForward:
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = [(FFN_DIM, MODEL_DIM), (FFN_DIM, MODEL_DIM), (MODEL_DIM, FFN_DIM)]
    return FeedForward(*(Linear(jax.random.normal(key, shape)) for key, shape in zip(keys, shapes, strict=True)))


X = jax.random.normal(jax.random.key(1), (2, 3, MODEL_DIM))


def test_hidden_units_are_what_pruning_may_take_out_one_by_one() -> None:
    layer, kept = make_layer(), jnp.array([0, 2, 3, 7])
    is_kept = jnp.zeros(FFN_DIM).at[kept].set(1.0)
    pruned = FeedForward(
        Linear(layer.gate.weight[kept]), Linear(layer.up.weight[kept]), Linear(layer.down.weight[:, kept])
    )
    masked = layer.down(layer.hidden_units(X) * is_kept[None, None])
    np.testing.assert_allclose(pruned(X), masked, rtol=TOLERANCE, atol=TOLERANCE)


def test_equals_the_formula() -> None:
    gate, up, down = (
        np.asarray(part.weight, np.float64)
        for part in jax.tree.leaves(make_layer(), is_leaf=lambda node: isinstance(node, Linear))
    )
    x = np.asarray(X, np.float64)
    gated = x @ gate.T
    expected = (gated / (1 + np.exp(-gated)) * (x @ up.T)) @ down.T
    np.testing.assert_allclose(make_layer()(X), expected, rtol=1e-4, atol=1e-4)
