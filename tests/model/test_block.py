import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from codling.model.block import Block
from codling.model.dropout import ATTENTION, FEED_FORWARD, Dropout, drop
from codling.model.packed_rows import PackedRows
from codling.model.rope import rotary
from codling.model.transformer import Transformer

LENGTH = 6


@jax.jit
def run(block: Block, x: np.ndarray, dropout: Dropout | None = None) -> jax.Array:
    angles = rotary(jnp.arange(LENGTH)[None], block.attention.head_dim, 500_000.0)
    return block(jnp.asarray(x), angles, PackedRows(jnp.ones((1, LENGTH), jnp.int32)), dropout)[0]


def first_block(model: Transformer) -> Block:
    block: Block = jax.tree.map(lambda leaf: leaf[0], model.blocks)
    return block


def draw(model: Transformer) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, LENGTH, model.config.model_dim)).astype(np.float32)


def test_without_output_and_down_projection_nothing_is_added(tiny_model: Transformer) -> None:
    silent = eqx.tree_at(
        lambda block: (block.attention.output.weight, block.feed_forward.down.weight),
        first_block(tiny_model),
        replace_fn=jnp.zeros_like,
    )
    np.testing.assert_array_equal(run(silent, draw(tiny_model)), draw(tiny_model))


def test_the_feed_forward_layer_reads_what_attention_has_added(tiny_model: Transformer) -> None:
    block, x = first_block(tiny_model), draw(tiny_model)
    without_ffn = eqx.tree_at(lambda block: block.feed_forward.down.weight, block, replace_fn=jnp.zeros_like)
    attended = run(without_ffn, x)
    expected = attended + block.feed_forward(block.feed_forward_norm(attended))
    np.testing.assert_allclose(run(block, x), expected, rtol=1e-5, atol=1e-5)


def test_dropout_acts_on_both_updates_and_never_on_the_residual_stream(tiny_model: Transformer) -> None:
    block, x = first_block(tiny_model), draw(tiny_model)
    dropout = Dropout(jax.random.key(0), 0.5)
    without_ffn = eqx.tree_at(lambda block: block.feed_forward.down.weight, block, replace_fn=jnp.zeros_like)
    attended = jnp.asarray(x) + drop(run(without_ffn, x) - x, dropout, ATTENTION)
    np.testing.assert_allclose(run(without_ffn, x, dropout), attended, rtol=1e-5, atol=1e-5)
    expected = attended + drop(block.feed_forward(block.feed_forward_norm(attended)), dropout, FEED_FORWARD)
    np.testing.assert_allclose(run(block, x, dropout), expected, rtol=1e-5, atol=1e-5)
