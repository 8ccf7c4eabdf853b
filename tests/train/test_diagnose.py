from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax  # type: ignore[import-untyped]
import pytest

from codling.model.execution import ComputeConfig, Execution
from codling.model.transformer import Transformer
from codling.train.diagnose import blame
from codling.train.loss import LossSums
from codling.train.sharding import data_mesh, place_rows, replicate
from codling.train.state import init_state
from codling.train.step import build_gradients

Fault = Callable[[Transformer], jax.Array]


def not_a_number_for(weight: jax.Array) -> jax.Array:
    """Zero, and its gradient is infinity times zero."""
    return jnp.sqrt(jnp.sum(jnp.square(weight) * 0.0))


def one_layer(model: Transformer) -> jax.Array:
    return not_a_number_for(model.blocks.feed_forward.up.weight[1])


def norm_scale(model: Transformer) -> jax.Array:
    return not_a_number_for(model.final_norm.scale)


def everything(model: Transformer) -> jax.Array:
    return sum((not_a_number_for(leaf) for leaf in jax.tree.leaves(model)), start=jnp.zeros(()))


def nothing(model: Transformer) -> jax.Array:
    return jnp.zeros(())


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (one_layer, "not finite is the gradient of blocks.feed_forward.up.weight [layer 1]"),
        (norm_scale, "not finite is the gradient of final_norm.scale"),
        (nothing, "every gradient is finite, their norm or the loss is not"),
    ],
)
def test_the_parameter_and_the_layer_are_named(tiny_model: Transformer, fault: Fault, expected: str) -> None:
    assert diagnose(tiny_model, fault) == expected


def test_of_many_the_first_are_named(tiny_model: Transformer) -> None:
    words = diagnose(tiny_model, everything)
    assert words.startswith("not finite is the gradient of embedding, blocks.")
    assert words.endswith(" more")
    assert words.count(",") == 2


def diagnose(model: Transformer, fault: Fault) -> str:
    def loss_fn(params: Transformer, frozen: None, rows: jax.Array, key: jax.Array, execution: Execution) -> LossSums:
        squares = sum((jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(params)), start=jnp.zeros(()))
        return LossSums(squares + fault(params), jnp.sum(rows), {})

    mesh = data_mesh(2)
    state = replicate(init_state(model, optax.sgd(0.1)), mesh)
    gradients_of = build_gradients(loss_fn, mesh, ComputeConfig())
    return blame(gradients_of, state, None, place_rows(jnp.ones(2), mesh, 2), jax.random.key(0))
