"""Rotations change weights and not what the model says; where they would, they are refused."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codling.artifact.hf import LAYER_NAMES, model_tensors
from codling.data.loader import Batch
from codling.errors import UserError
from codling.model.block import Block
from codling.model.config import ModelConfig
from codling.model.init import init_transformer
from codling.model.transformer import Transformer
from codling.ondevice.blocks import Blocks
from codling.ondevice.input_moments import advance, embed
from codling.ondevice.rotate_blocks import RotatedBlocks

TOLERANCE = 1e-5
"""Of logits of about unit size, in float32."""


def model_of(model_dim: int, head_dim: int, *, query_key_norm: bool = True) -> Transformer:
    """Random, norm scales too, but for the final one, which is the same for all channels."""
    shape = ModelConfig(
        vocab_size=61,
        model_dim=model_dim,
        ffn_dim=20,
        num_layers=2,
        num_query_heads=4,
        num_kv_heads=2,
        head_dim=head_dim,
        context_length_tokens=64,
        query_key_norm=query_key_norm,
    )
    random = np.random.default_rng(0)
    like = eqx.filter_eval_shape(init_transformer, shape, jax.random.key(0))
    model: Transformer = jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(size=leaf.shape) / leaf.shape[-1] ** 0.5, jnp.float32), like
    )
    changed: Transformer = eqx.tree_at(lambda model: model.final_norm.scale, model, jnp.full(model_dim, 0.7))
    return changed


def logits(model: Blocks, batch: Batch) -> np.ndarray:
    hidden = embed(model.embedding, batch)
    for layer in range(model.config.num_layers):
        hidden = advance(model.block(layer), hidden, model.config.head_dim, model.config.rope_theta)
    return np.asarray(model.final_norm(hidden.x) @ model.embedding.T)[batch.segment_ids > 0]


@pytest.mark.parametrize(("values", "residual"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize(("model_dim", "head_dim"), [(16, 8), (24, 6)])
@pytest.mark.parametrize("query_key_norm", [True, False])
def test_the_model_says_what_it_said(
    small_batch: Batch, values: bool, residual: bool, model_dim: int, head_dim: int, query_key_norm: bool
) -> None:
    model = model_of(model_dim, head_dim, query_key_norm=query_key_norm)
    rotated = RotatedBlocks(model, values=values, residual=residual)
    assert isinstance(rotated, Blocks)
    np.testing.assert_allclose(logits(rotated, small_batch), logits(model, small_batch), atol=TOLERANCE)


VALUE_LAYERS = {"value", "output"}
RESIDUAL_LAYERS = {"query", "key", "value", "output", "gate", "up", "down"}


@pytest.mark.parametrize(
    ("values", "residual", "expected"),
    [(False, False, set()), (True, False, VALUE_LAYERS), (False, True, RESIDUAL_LAYERS), (True, True, RESIDUAL_LAYERS)],
)
def test_only_the_weights_concerned_change(values: bool, residual: bool, expected: set[str]) -> None:
    def weights(block: Block) -> dict[str, np.ndarray]:
        parts = vars(block.attention) | vars(block.feed_forward)
        return {name: np.asarray(parts[name].weight) for name in RESIDUAL_LAYERS}

    model = model_of(16, 8)
    before = weights(model.block(1))
    after = weights(RotatedBlocks(model, values=values, residual=residual).block(1))
    assert {name for name, weight in before.items() if not np.array_equal(weight, after[name])} == expected
    for name, weight in before.items():
        assert values or not residual or np.isfinite(after[name]).all()
        if not residual:
            assert np.linalg.norm(after[name]) == pytest.approx(np.linalg.norm(weight), rel=1e-5)


def test_norm_scales_become_ones_in_the_blocks_and_in_the_file() -> None:
    model = model_of(16, 8)
    rotated = RotatedBlocks(model, values=False, residual=True)
    names = {f"model.layers.{layer}.{LAYER_NAMES[f'{norm}.scale']}" for layer in (0, 1) for norm in BLOCK_NORMS}
    assert rotated.changed_vectors().keys() == names <= model_tensors(model).keys()
    for norm in BLOCK_NORMS:
        np.testing.assert_array_equal(getattr(rotated.block(0), norm).scale, np.ones(16))
    for array in rotated.changed_vectors().values():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, np.ones(16))
    assert not RotatedBlocks(model, values=True, residual=False).changed_vectors()


BLOCK_NORMS = ("attention_norm", "feed_forward_norm")


def scaled(change: Callable[[np.ndarray], np.ndarray]) -> Transformer:
    model = model_of(24, 8)
    scale = jnp.asarray(change(np.asarray(model.final_norm.scale)))
    changed: Transformer = eqx.tree_at(lambda model: model.final_norm.scale, model, scale)
    return changed


def test_a_final_norm_that_tells_channels_apart_is_refused() -> None:
    model = scaled(lambda scale: scale * np.linspace(1, 2, 24, dtype=np.float32))
    with pytest.raises(UserError, match=r"model\.norm\.weight has scales from 0\.7 to 1\.4, and must be constant"):
        RotatedBlocks(model, values=False, residual=True)
    RotatedBlocks(model, values=True, residual=False)


def test_channels_that_are_not_mixed_may_be_told_apart(small_batch: Batch) -> None:
    model = scaled(lambda scale: scale * np.repeat(np.asarray([1, 2, 3], np.float32), 8))
    rotated = RotatedBlocks(model, values=True, residual=True)
    np.testing.assert_allclose(logits(rotated, small_batch), logits(model, small_batch), atol=3 * TOLERANCE)
